#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "shardscout/error.h"
#include "shardscout/plan.h"

namespace shardscout {
namespace {

[[noreturn]] void ThrowCannotWrite(const std::string& path, int error) {
  std::string remedy = "choose another path";
  if (error == ENOSPC || error == EDQUOT) remedy = "free some space or choose another disk";
  if (error == ENOENT) remedy = "create its folder first";
  if (error == EACCES || error == EPERM || error == EROFS) remedy = "choose a folder that you may write to";
  throw SpecError(path, std::string("cannot be written: ") + std::strerror(error) + "; " + remedy);
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// close() reports what a network disk only notices at the end.
  bool Close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

/// 0, or the errno of the write that failed.
int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

/// What the name leads to: links are followed, so that a link stays one.
std::string FollowLinks(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? std::string(resolved) : path;
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::optional<struct stat> StatusOfFile(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

}  // namespace

void WriteFileAtomically(const std::string& path, std::string_view text) {
  const std::string target = FollowLinks(path);
  const auto existing = StatusOfFile(target);
  if (existing && S_ISDIR(existing->st_mode)) ThrowCannotWrite(path, EISDIR);
  if (existing && !S_ISREG(existing->st_mode)) {
    Descriptor device(::open(target.c_str(), O_WRONLY | O_CLOEXEC));
    if (device.get() < 0) ThrowCannotWrite(path, errno);
    if (const int error = WriteAll(device.get(), text); error != 0) ThrowCannotWrite(path, error);
    return;
  }
  const std::string beside = target + ".partial." + std::to_string(::getpid());
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) ThrowCannotWrite(path, errno);
  int error = WriteAll(file.get(), text);
  if (error == 0 && existing) ::fchmod(file.get(), existing->st_mode & 07777);  // best effort: the text matters more
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (!file.Close() && error == 0) error = errno;
  if (error == 0 && ::rename(beside.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(beside.c_str());
    ThrowCannotWrite(path, error);
  }
  // The name itself reaches the disk with its folder; a disk that cannot do that still has the file.
  Descriptor folder(::open(FolderOf(target).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

void CheckCanWrite(const std::string& path) {
  if (path.empty()) throw SpecError(path, "the path to write to is empty");
  const std::string target = FollowLinks(path);
  const auto existing = StatusOfFile(target);
  if (existing && S_ISDIR(existing->st_mode)) ThrowCannotWrite(path, EISDIR);
  if (existing && !S_ISREG(existing->st_mode)) {
    if (::access(target.c_str(), W_OK) != 0) ThrowCannotWrite(path, errno);
    return;
  }
  const std::string folder = FolderOf(target);
  const auto status = StatusOfFile(folder);
  if (!status) ThrowCannotWrite(path, errno);
  if (!S_ISDIR(status->st_mode)) ThrowCannotWrite(path, ENOTDIR);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) ThrowCannotWrite(path, errno);
}

}  // namespace shardscout
