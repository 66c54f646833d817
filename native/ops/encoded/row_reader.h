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

/**
 * Begins to read a matrix.
 *
 * @param to u8 [O, bytes], contiguous; kept until the read has ended
 * @param type of rows as they are to be: panels are made of a file's rows
 * @returns a ticket for finishRead()
 */
int64_t startRead(const at::Tensor& to, const std::string& type, const FileRows& rows);

/** Waits for a read to end. Throws c10::Error when the file could not be read, or ended. */
void finishRead(int64_t ticket);

}  // namespace switchyard
