// Rows of matrices from files into memory by threads of their own, while others compute.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/** Bytes of an open file. */
struct FileRange {
  int file;
  int64_t offset;
  int64_t bytes;
};

/** How a file has the rows of a matrix. */
struct FileRows {
  std::vector<FileRange> ranges;  // one after the other; where rows are packed, values and scales of each part by turns
  std::string packing;            // see packingOf(); empty: as they are
  bool alternating;               // whether the two halves of the rows come by turns
};

/** How soon a read is wanted: the more urgent goes first, and what is under way is not interrupted. */
enum class Urgency { kNeeded, kGuess, kSpare };

/**
 * Begins to read a matrix.
 *
 * @param to u8 [O, bytes], contiguous; kept until the read has ended
 * @param type of rows as they are to be: panels are made of a file's rows
 * @returns a ticket for finishRead()
 */
int64_t startRead(const at::Tensor& to, const std::string& type, const FileRows& rows, Urgency urgency);

/** Waits for a read to end, which is needed now. Throws c10::Error when the file could not be read, or ended. */
void finishRead(int64_t ticket);

/** What was begun ahead of its time is needed now. */
void hurryRead(int64_t ticket);

/** Gives up a read that waits still, and its ticket; false when it is under way or has ended. */
bool cancelRead(int64_t ticket);

/** Whether a read has ended, so that finishRead() does not wait. */
bool hasRead(int64_t ticket);

}  // namespace switchyard
