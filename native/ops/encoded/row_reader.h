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

/**
 * Begins to read a matrix whose rows lie in `ranges`, one after the other.
 *
 * @param to u8 [O, bytes], contiguous; kept until the read has ended
 * @param type of rows as they are to be: panels are made of a file's rows
 * @returns a ticket for finishRead()
 */
int64_t startRead(const at::Tensor& to, const std::string& type, const std::vector<FileRange>& ranges);

/** Waits for a read to end. Throws c10::Error when the file could not be read, or ended. */
void finishRead(int64_t ticket);

}  // namespace switchyard
