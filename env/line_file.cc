#include "env/line_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::env {

LineFile::LineFile(std::string path, LineFileWords words) : path_(std::move(path)), words_(std::move(words)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_CREAT, 0666);
  if (fd_ < 0) ThrowCannotWrite(errno);
  struct stat status {};
  if (::fstat(fd_, &status) == 0) regular_file_ = S_ISREG(status.st_mode);
  // Two writers of one file would damage it. Disks without locks are taken as they are.
  if (regular_file_ && ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(fd_);
    throw SpecError(path_, words_.in_use + "; wait for it or choose another path");
  }
}

LineFile::~LineFile() { ::close(fd_); }

void LineFile::ThrowCannotWrite(int error) const {
  std::string remedy = "choose another path for " + words_.name;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    remedy = "free some space and go on with --resume: " + words_.kept;
  }
  if (error == ENOENT) remedy = "create its folder first";
  if (error == EACCES || error == EPERM || error == EROFS) remedy = "choose a folder that you may write to";
  throw SpecError(path_, words_.name + " cannot be written: " + std::strerror(error) + "; " + remedy);
}

std::string LineFile::ReadAll() const {
  std::string text;
  if (!regular_file_) return text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::pread(fd_, buffer, sizeof buffer, static_cast<off_t>(text.size()));
    if (got == 0) return text;
    if (got < 0) {
      if (errno == EINTR) continue;
      throw SpecError(path_, words_.name + " cannot be read: " + std::strerror(errno));
    }
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

void LineFile::Truncate(std::size_t size) {
  if (regular_file_ && ::ftruncate(fd_, static_cast<off_t>(size)) != 0) ThrowCannotWrite(errno);
  good_bytes_ = size;
}

void LineFile::Clear() { Truncate(0); }

void LineFile::Append(const std::string& text) {
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t written = ::write(fd_, left.data(), left.size());
    if (written >= 0) {
      left.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      const int error = errno;
      // Best effort: a torn line that stays is dropped on resume.
      if (regular_file_ && ::ftruncate(fd_, static_cast<off_t>(good_bytes_)) != 0) {
      }
      ThrowCannotWrite(error);
    }
  }
  good_bytes_ += text.size();
}

bool LineFile::Replay(std::string_view beginning, const std::function<void(const std::string&)>& read_header,
                      const std::function<void(const std::string&)>& read_entry, std::vector<std::string>* warnings) {
  const std::size_t good = GoodBytes(ReadAll(), beginning, read_header, read_entry, warnings);
  Truncate(good);
  return good > 0;
}

std::size_t LineFile::GoodBytes(const std::string& text, std::string_view beginning,
                                const std::function<void(const std::string&)>& read_header,
                                const std::function<void(const std::string&)>& read_entry,
                                std::vector<std::string>* warnings) const {
  std::size_t good = 0;
  for (std::size_t number = 1; good < text.size(); ++number) {
    const std::size_t end = text.find('\n', good);
    const bool whole = end != std::string::npos;
    const bool last = !whole || end + 1 == text.size();
    const std::string line = text.substr(good, whole ? end - good : std::string::npos);
    if (number == 1 && (whole || !line.starts_with(beginning.substr(0, line.size())))) {
      read_header(line);
    } else if (whole) {
      try {
        read_entry(line);
      } catch (const SpecError& error) {
        if (!last) {
          throw SpecError(
              path_ + " line " + std::to_string(number),
              words_.name + " is damaged (" + error.what() + "); cut it off before this line, or " + words_.anew);
        }
        WarnTorn(number, warnings);
        return good;
      }
    } else {
      WarnTorn(number, warnings);
      return good;
    }
    good += line.size() + 1;
  }
  return good;
}

void LineFile::WarnTorn(std::size_t number, std::vector<std::string>* warnings) const {
  if (warnings == nullptr) return;
  warnings->push_back(path_ + " line " + std::to_string(number) + ": torn, the last one; dropped");
}

}  // namespace shardscout::env
