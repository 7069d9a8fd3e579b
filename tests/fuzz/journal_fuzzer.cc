// A journal: what can be resumed from is resumed from twice, and the second time finds all that the first left.

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "shardscout/journal.h"
#include "tests/fuzz/fuzz.h"

namespace shardscout::fuzz {
namespace {

/// A file without a disk.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("journal", MFD_CLOEXEC)) { FUZZ_EXPECT(fd_ >= 0); }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string Path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void Write(std::string_view text) const {
    FUZZ_EXPECT(::ftruncate(fd_, 0) == 0);
    FUZZ_EXPECT(::pwrite(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  std::string Read() const {
    std::string text(static_cast<std::size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    FUZZ_EXPECT(::pread(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    return text;
  }

 private:
  const int fd_;
};

void Run(std::string_view text) {
  static const MemoryFile file;
  static const JournalHeader header = {"problem", "configuration", "build"};
  file.Write(text);
  std::vector<std::string> warnings;
  std::int64_t replayable = 0;
  if (!Accepted([&] { replayable = Journal::Resume(file.Path(), header, &warnings)->NumReplayable(); })) {
    FUZZ_EXPECT(file.Read() == text);  // What is refused stays as it is.
    return;
  }
  const std::string kept = file.Read();
  warnings.clear();
  {
    const auto journal = Journal::Resume(file.Path(), header, &warnings);
    FUZZ_EXPECT(journal->NumReplayable() == replayable);
    FUZZ_EXPECT(file.Read() == kept);
    Strategy strategy;
    strategy.batch_size = 12345;
    const bool is_new = !journal->Find(strategy);
    journal->Append({{strategy, Evaluation{}}});
    if (is_new) ++replayable;
  }
  FUZZ_EXPECT(file.Read().starts_with(kept));
  FUZZ_EXPECT(Journal::Resume(file.Path(), header, &warnings)->NumReplayable() == replayable);
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
