#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "shardscout/search_environment.h"

/// Curves of a search as a TensorBoard event file.
///
/// Format: TFRecords. A record is {uint64 length, uint32 masked CRC-32C of the length's bytes, the data, uint32 masked
/// CRC-32C of the data}, little-endian, with
///
///     masked(c) = ((c >> 15) | (c << 17)) + 0xa282ead8    (mod 2^32)
///
/// and CRC-32C that of Castagnoli (RFC 3720, appendix B.4). Each record's data is an Event in protobuf's encoding; the
/// first says file_version "brain.Event:2", the others carry one step's scalars.
///
/// Source: TensorFlow, tsl/lib/io/record_writer.h and event.proto (field numbers in src/tensorboard_event.proto).
namespace shardscout {

/// An event file that is being written. Every record is handed to the kernel before Write returns, so that TensorBoard
/// shows a search that still runs.
class EventFile {
 public:
  /// Makes `folder` where it is not there, and in it events.out.tfevents.SECONDS.shardscout.PROCESS; TensorBoard takes
  /// a folder for one run. SpecError where that can't be done.
  explicit EventFile(const std::string& folder);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  const std::string& path() const;

  /// Points of curves at one step, with the time of day. No scalars: no record. SpecError where the disk is full.
  void Write(std::int64_t step, std::span<const Scalar> scalars);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout
