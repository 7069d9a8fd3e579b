#include "env/calibration/packed_file.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "shardscout/error.h"

extern char** environ;

namespace shardscout::env {
namespace {

constexpr std::size_t kMostBytes = std::size_t{256} << 20;

/// Closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

std::string ReadToEnd(int fd, const std::string& path) {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw SpecError(path, std::string("cannot be read: ") + std::strerror(errno));
    if (text.size() + static_cast<std::size_t>(count) > kMostBytes) {
      throw SpecError(path, "has more than 256 MiB, expected a smaller table");
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

/// A running gzip; waited for, whatever happens.
class Gzip {
 public:
  Gzip(int input, int output, const std::string& path) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::string program = "gzip", flags = "-dc";
    std::array<char*, 3> words = {program.data(), flags.data(), nullptr};
    const int failed = ::posix_spawnp(&child_, "gzip", &actions, nullptr, words.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
      child_ = -1;
      throw SpecError(path, std::string("needs gzip, which does not start: ") + std::strerror(failed));
    }
  }
  ~Gzip() { Succeeded(); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  /// Waits for its end.
  bool Succeeded() {
    if (child_ < 0) return false;
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(child_, &status, 0)) < 0 && errno == EINTR) {
    }
    child_ = -1;
    return ended >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t child_ = -1;
};

/// What `gzip -dc` writes of an open file.
std::string Unpack(int file, const std::string& path) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw SpecError(path, std::string("cannot be unpacked: ") + std::strerror(errno));
  }
  Descriptor writing(ends[1]);
  Gzip gzip(file, writing.get(), path);
  // Declared after it, and so closed before it is waited for: a gzip that still writes ends.
  Descriptor reading(ends[0]);
  writing.Close();
  std::string text = ReadToEnd(reading.get(), path);
  if (!gzip.Succeeded()) throw SpecError(path, "cannot be unpacked: gzip finds no whole gzip file in it");
  return text;
}

}  // namespace

std::string ReadPackedFile(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw SpecError(path, std::string("cannot be read: ") + std::strerror(errno));
  return path.ends_with(".gz") ? Unpack(file.get(), path) : ReadToEnd(file.get(), path);
}

}  // namespace shardscout::env
