#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace shardscout::live {

/// Lines over a file descriptor that it owns, both ways.
class LineChannel {
 public:
  explicit LineChannel(int fd) : fd_(fd) {}
  ~LineChannel();
  LineChannel(const LineChannel&) = delete;
  LineChannel& operator=(const LineChannel&) = delete;

  int fd() const { return fd_; }
  /// A line without its end; nullopt at the end of the stream. With `wait` nullopt as well where none came in time
  /// (Ended tells them apart).
  std::optional<std::string> Read(std::optional<std::chrono::milliseconds> wait);
  bool Ended() const { return ended_; }
  /// False where nobody reads any more.
  bool Write(std::string_view line);

 private:
  int fd_;
  bool ended_ = false;
  std::string buffer_;
};

}  // namespace shardscout::live
