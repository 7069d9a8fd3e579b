#include "shardscout/journal.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "env/line_file.h"
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
  std::int64_t n = 0;  ///< 1 for the first charged one; a gap means that lines are missing. 0: free of charge.
  Strategy strategy;
  Evaluation evaluation;
};

template <class V>
void VisitFields(V& visit, EntryLine& line) {
  visit("n", line.n, {.min = 0, .required = true});
  visit("strategy", line.strategy, {.required = true});
  visit("evaluation", line.evaluation, {.required = true});
}

/// How every journal begins, also one that was cut within its first line.
constexpr std::string_view kBeginning = "{\"header\":";

template <class T>
std::string ToLine(const T& line) {
  return json::WriteJson(line).dump() + "\n";
}

LineFileWords JournalWords() {
  return {"the journal", "another search is writing this journal", "the evaluations before are kept",
          "search without --resume"};
}

}  // namespace
}  // namespace env

struct Journal::Impl {
  explicit Impl(const std::string& the_path) : path(the_path), file(the_path, env::JournalWords()) {}

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
    if (entry.n == 0) {
      free.insert_or_assign(entry.strategy, entry.evaluation);
      return;
    }
    if (entry.n != lines + 1) {
      throw SpecError(path, "found number " + std::to_string(entry.n) + " where " + std::to_string(lines + 1) +
                                " is due: lines are missing");
    }
    if (!known.try_emplace(entry.strategy, entry.evaluation).second) {
      throw SpecError(path, "its strategy was there before");
    }
    ++lines;
  }

  const std::string path;
  env::LineFile file;
  std::int64_t lines = 0;                                        ///< Charged entries in the file.
  std::unordered_map<Strategy, Evaluation, StrategyHash> known;  ///< Charged.
  std::unordered_map<Strategy, Evaluation, StrategyHash> free;
};

Journal::Journal() = default;
Journal::~Journal() = default;

std::unique_ptr<Journal> Journal::Create(const std::string& path, const JournalHeader& header) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->impl_ = std::make_unique<Impl>(path);
  journal->impl_->file.Clear();  // Only now, under the lock.
  journal->impl_->file.Append(env::ToLine(env::HeaderLine{header}));
  return journal;
}

std::unique_ptr<Journal> Journal::Resume(const std::string& path, const JournalHeader& header,
                                         std::vector<std::string>* warnings) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->impl_ = std::make_unique<Impl>(path);
  Impl& impl = *journal->impl_;
  const bool begun = impl.file.Replay(
      env::kBeginning, [&](const std::string& line) { impl.ReadHeader(line, header, warnings); },
      [&](const std::string& line) { impl.ReadEntry(line); }, warnings);
  if (!begun) impl.file.Append(env::ToLine(env::HeaderLine{header}));
  return journal;
}

std::optional<Evaluation> Journal::Find(const Strategy& strategy) const {
  for (const auto* entries : {&impl_->known, &impl_->free}) {
    if (const auto found = entries->find(strategy); found != entries->end()) return found->second;
  }
  return std::nullopt;
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
  impl_->file.Append(text);
  impl_->lines = n;
  impl_->known.merge(appended);
}

void Journal::AppendFree(const Entry& entry) {
  if (Find(entry.strategy)) return;
  impl_->file.Append(env::ToLine(env::EntryLine{0, entry.strategy, entry.evaluation}));
  impl_->free.emplace(entry.strategy, entry.evaluation);
}

}  // namespace shardscout
