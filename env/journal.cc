#include "shardscout/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "shardscout/error.h"
#include "src/evaluation_json.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"
#include "src/strategy_json.h"

namespace shardscout {

template <class V>
void VisitFields(V& visit, JournalHeader& header) {
  visit("problem_digest", header.problem_digest, {.required = true});
  visit("configuration_digest", header.configuration_digest, {.required = true});
  visit("build", header.build, {.required = true});
}

namespace env {
namespace {

struct HeaderLine {
  JournalHeader header;
};

template <class V>
void VisitFields(V& visit, HeaderLine& line) {
  visit("header", line.header, {.required = true});
}

struct EntryLine {
  std::int64_t n = 0;  ///< 1 for the first; a gap means that lines are missing.
  Strategy strategy;
  Evaluation evaluation;
};

template <class V>
void VisitFields(V& visit, EntryLine& line) {
  visit("n", line.n, {.min = 1, .required = true});
  visit("strategy", line.strategy, {.required = true});
  visit("evaluation", line.evaluation, {.required = true});
}

/// How every journal begins, also one that was cut within its first line.
constexpr std::string_view kBeginning = "{\"header\":";

template <class T>
std::string ToLine(const T& line) {
  return json::WriteJson(line).dump() + "\n";
}

[[noreturn]] void ThrowCannotWrite(const std::string& path, int error) {
  std::string remedy = "choose another path for the journal";
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    remedy = "free some space and go on with --resume: the evaluations before are kept";
  }
  if (error == ENOENT) remedy = "create its folder first";
  if (error == EACCES || error == EPERM || error == EROFS) remedy = "choose a folder that you may write to";
  throw SpecError(path, std::string("the journal cannot be written: ") + std::strerror(error) + "; " + remedy);
}

}  // namespace
}  // namespace env

struct Journal::Impl {
  Impl(std::string the_path, int create_flag) : path(std::move(the_path)) {
    fd = ::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | create_flag, 0666);
    if (fd < 0) env::ThrowCannotWrite(path, errno);
    struct stat status {};
    if (::fstat(fd, &status) == 0) regular_file = S_ISREG(status.st_mode);
    // Two searches that write one journal would damage it. Disks without locks are taken as they are.
    if (regular_file && ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(fd);
      throw SpecError(path, "another search is writing this journal; wait for it or choose another path");
    }
  }
  ~Impl() { ::close(fd); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::string ReadAll() const {
    std::string text;
    if (!regular_file) return text;
    char buffer[1 << 16];
    while (true) {
      const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(text.size()));
      if (got == 0) return text;
      if (got < 0) {
        if (errno == EINTR) continue;
        throw SpecError(path, std::string("the journal cannot be read: ") + std::strerror(errno));
      }
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }

  void Truncate(std::size_t size) {
    if (regular_file && ::ftruncate(fd, static_cast<off_t>(size)) != 0) env::ThrowCannotWrite(path, errno);
    good_bytes = size;
  }

  /// All or nothing: where the disk is full, what was begun is taken back.
  void Write(const std::string& text) {
    std::string_view left = text;
    while (!left.empty()) {
      const ssize_t written = ::write(fd, left.data(), left.size());
      if (written >= 0) {
        left.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno != EINTR) {
        const int error = errno;
        // Best effort: a torn line that stays is dropped on resume.
        if (regular_file && ::ftruncate(fd, static_cast<off_t>(good_bytes)) != 0) {
        }
        env::ThrowCannotWrite(path, error);
      }
    }
    good_bytes += text.size();
  }

  void ReadHeader(const std::string& line, const JournalHeader& expected, std::vector<std::string>* warnings) const {
    JournalHeader found;
    try {
      found = json::ReadJson<env::HeaderLine>(json::ParseText(line, path), path).header;
    } catch (const SpecError& error) {
      throw SpecError(path + " line 1", std::string("not the header of a journal (") + error.what() +
                                            "); choose another path, or search without --resume");
    }
    if (found.problem_digest != expected.problem_digest) {
      throw SpecError(path, "the journal is of another problem (digest " + found.problem_digest + ", this one is " +
                                expected.problem_digest + "); choose another path, or search without --resume");
    }
    if (found.configuration_digest != expected.configuration_digest) {
      throw SpecError(path,
                      "the journal is of another configuration (searcher, its settings, evaluator, seed, budget or "
                      "start; digest " +
                          found.configuration_digest + ", this one is " + expected.configuration_digest +
                          "); give the same ones, choose another path, or search without --resume");
    }
    if (found.build != expected.build && warnings != nullptr) {
      warnings->push_back(path + ": the journal was begun by another build (" + found.build + ", this one is " +
                          expected.build + "); its evaluations are reused, but the result may differ");
    }
  }

  void ReadEntry(const std::string& line) {
    const env::EntryLine entry = json::ReadJson<env::EntryLine>(json::ParseText(line, path), path);
    if (entry.n != lines + 1) {
      throw SpecError(path, "found number " + std::to_string(entry.n) + " where " + std::to_string(lines + 1) +
                                " is due: lines are missing");
    }
    if (!known.try_emplace(entry.strategy, entry.evaluation).second) {
      throw SpecError(path, "its strategy was there before");
    }
    ++lines;
  }

  /// Reads `text`, the whole file; returns the length of its good part. 0: nothing to resume from.
  std::size_t Replay(const std::string& text, const JournalHeader& header, std::vector<std::string>* warnings) {
    std::size_t good = 0;
    for (std::size_t number = 1; good < text.size(); ++number) {
      const std::size_t end = text.find('\n', good);
      const bool whole = end != std::string::npos;
      const bool last = !whole || end + 1 == text.size();
      const std::string line = text.substr(good, whole ? end - good : std::string::npos);
      if (number == 1 && (whole || !line.starts_with(env::kBeginning.substr(0, line.size())))) {
        ReadHeader(line, header, warnings);
      } else if (whole) {
        try {
          ReadEntry(line);
        } catch (const SpecError& error) {
          if (!last) {
            throw SpecError(path + " line " + std::to_string(number),
                            std::string("the journal is damaged (") + error.what() +
                                "); cut it off before this line, or search without --resume");
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

  void WarnTorn(std::size_t number, std::vector<std::string>* warnings) const {
    if (warnings == nullptr) return;
    warnings->push_back(path + " line " + std::to_string(number) + ": torn, the last one; dropped");
  }

  const std::string path;
  int fd = -1;
  bool regular_file = false;
  std::size_t good_bytes = 0;
  std::int64_t lines = 0;  ///< Entries in the file.
  std::unordered_map<Strategy, Evaluation, StrategyHash> known;
};

Journal::Journal() = default;
Journal::~Journal() = default;

std::unique_ptr<Journal> Journal::Create(const std::string& path, const JournalHeader& header) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->impl_ = std::make_unique<Impl>(path, O_CREAT);
  journal->impl_->Truncate(0);  // Only now, under the lock.
  journal->impl_->Write(env::ToLine(env::HeaderLine{header}));
  return journal;
}

std::unique_ptr<Journal> Journal::Resume(const std::string& path, const JournalHeader& header,
                                         std::vector<std::string>* warnings) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->impl_ = std::make_unique<Impl>(path, O_CREAT);
  Impl& impl = *journal->impl_;
  const std::size_t good = impl.Replay(impl.ReadAll(), header, warnings);
  impl.Truncate(good);
  if (good == 0) impl.Write(env::ToLine(env::HeaderLine{header}));
  return journal;
}

std::optional<Evaluation> Journal::Find(const Strategy& strategy) const {
  const auto found = impl_->known.find(strategy);
  if (found == impl_->known.end()) return std::nullopt;
  return found->second;
}

std::int64_t Journal::NumReplayable() const { return static_cast<std::int64_t>(impl_->known.size()); }

void Journal::Append(const std::vector<Entry>& entries) {
  std::string text;
  std::unordered_map<Strategy, Evaluation, StrategyHash> appended;
  std::int64_t n = impl_->lines;
  for (const Entry& entry : entries) {
    if (impl_->known.contains(entry.strategy)) continue;
    if (!appended.try_emplace(entry.strategy, entry.evaluation).second) continue;
    text += env::ToLine(env::EntryLine{++n, entry.strategy, entry.evaluation});
  }
  if (text.empty()) return;
  impl_->Write(text);
  impl_->lines = n;
  impl_->known.merge(appended);
}

}  // namespace shardscout
