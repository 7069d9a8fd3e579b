#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// What a journal was written for. Problem and configuration must match on resume; the build may differ, with a
/// warning.
struct JournalHeader {
  std::string problem_digest;
  std::string configuration_digest;  ///< Searcher, its effective configuration, evaluator, seed, budget, start.
  std::string build;                 ///< Version, and LibTorch's where agents are built in.
  bool operator==(const JournalHeader&) const = default;
};

/// Every charged evaluation of a search, as JSON lines in charged order: {"header": ...} first, then {"n": 1,
/// "strategy": {...}, "evaluation": {...}}. A line is handed to the kernel before the evaluation counts, so a killed
/// process loses nothing that it paid for; a torn last line (power loss) is dropped on resume. Doubles are written so
/// that they read back bit for bit. A line with "n": 0 was measured free of charge (the Megatron rule of a live
/// search).
class Journal {
 public:
  /// Starts a new file (an existing one is replaced). SpecError when it can't be written.
  static std::unique_ptr<Journal> Create(const std::string& path, const JournalHeader& header);

  /// Opens an existing file for replay and goes on appending. A missing file starts a new one. SpecError if its header
  /// is of another problem or configuration, or a line other than the last is damaged. `warnings` gets a line when the
  /// build differs or a torn line was dropped.
  static std::unique_ptr<Journal> Resume(const std::string& path, const JournalHeader& header,
                                         std::vector<std::string>* warnings);

  ~Journal();

  /// What is in the file, free of charge or not; nullopt for what is not.
  std::optional<Evaluation> Find(const Strategy& strategy) const;
  std::int64_t NumReplayable() const;  ///< Charged ones.

  struct Entry {
    Strategy strategy;
    Evaluation evaluation;
  };
  /// Appends in order, in one write. Strategies that were charged before are not written again.
  void Append(const std::vector<Entry>& entries);
  /// Appends one that is not charged, unless Find knows it.
  void AppendFree(const Entry& entry);

 private:
  Journal();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout
