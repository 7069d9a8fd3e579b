#include "shardscout/event_file.h"

#include <fcntl.h>
#include <tensorboard_event.pb.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "shardscout/error.h"
#include "src/crc32c.h"

namespace shardscout {
namespace {

double Now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

template <class Number>
void AppendLittleEndian(Number number, std::string& text) {
  for (std::size_t i = 0; i < sizeof(Number); ++i) text.push_back(static_cast<char>((number >> (8 * i)) & 0xff));
}

std::string Record(const std::string& data) {
  std::string record;
  AppendLittleEndian(static_cast<std::uint64_t>(data.size()), record);
  AppendLittleEndian(internal::MaskedCrc32c(record), record);
  record += data;
  AppendLittleEndian(internal::MaskedCrc32c(data), record);
  return record;
}

}  // namespace

struct EventFile::Impl {
  std::string path;
  int fd = -1;

  void Append(const tensorboard::Event& event) const {
    const std::string record = Record(event.SerializeAsString());
    for (std::string_view rest = record; !rest.empty();) {
      const ssize_t written = ::write(fd, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw SpecError(path, std::string("cannot be written: ") + std::strerror(errno));
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
  }
};

EventFile::EventFile(const std::string& folder) : impl_(std::make_unique<Impl>()) {
  std::error_code not_made;  // Opening then says what is wrong.
  std::filesystem::create_directories(folder, not_made);
  const auto seconds = static_cast<std::int64_t>(Now());
  impl_->path = (std::filesystem::path(folder) /
                 ("events.out.tfevents." + std::to_string(seconds) + ".shardscout." + std::to_string(::getpid())))
                    .string();
  impl_->fd = ::open(impl_->path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (impl_->fd < 0) throw SpecError(folder, std::string("no event file can be made in it: ") + std::strerror(errno));
  tensorboard::Event first;
  first.set_wall_time(Now());
  first.set_file_version("brain.Event:2");
  impl_->Append(first);
}

EventFile::~EventFile() {
  if (impl_->fd >= 0) ::close(impl_->fd);
}

const std::string& EventFile::path() const { return impl_->path; }

void EventFile::Write(std::int64_t step, std::span<const Scalar> scalars) {
  if (scalars.empty()) return;
  tensorboard::Event event;
  event.set_wall_time(Now());
  event.set_step(step);
  for (const Scalar& scalar : scalars) {
    tensorboard::Summary::Value& value = *event.mutable_summary()->add_value();
    value.set_tag(scalar.name);
    value.set_simple_value(static_cast<float>(scalar.value));
  }
  impl_->Append(event);
}

}  // namespace shardscout
