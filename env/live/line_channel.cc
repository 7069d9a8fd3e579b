#include "env/live/line_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace shardscout::live {

LineChannel::~LineChannel() {
  if (fd_ >= 0) close(fd_);
}

std::optional<std::string> LineChannel::Read(std::optional<std::chrono::milliseconds> wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait.value_or(std::chrono::milliseconds(0));
  for (;;) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (ended_) return std::nullopt;
    int left = -1;
    if (wait) {
      const auto rest =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      left = rest.count() > 0 ? static_cast<int>(rest.count()) : 0;
    }
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    const int count = poll(&ready, 1, left);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) return std::nullopt;
    std::array<char, 65536> block{};
    const ssize_t size = read(fd_, block.data(), block.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      ended_ = true;
    } else {
      buffer_.append(block.data(), static_cast<std::size_t>(size));
    }
  }
}

bool LineChannel::Write(std::string_view line) {
  std::string text(line);
  text += '\n';
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t size = send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    done += static_cast<std::size_t>(size);
  }
  return true;
}

}  // namespace shardscout::live
