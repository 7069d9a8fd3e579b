#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/searcher.h"

namespace shardscout {

/// The files that a user writes or keeps: a Hugging Face config.json, a cluster, a workload, searchers' settings
/// (search --config), a strategy, a plan, a suite of searches (compare --suite).
enum class SpecKind : std::uint8_t { kModel, kCluster, kWorkload, kSearch, kStrategy, kPlan, kSuite };

inline constexpr std::array<SpecKind, 7> kSpecKinds = {SpecKind::kModel,  SpecKind::kCluster,  SpecKind::kWorkload,
                                                       SpecKind::kSearch, SpecKind::kStrategy, SpecKind::kPlan,
                                                       SpecKind::kSuite};

/// "model", "cluster", "workload", "search", "strategy", "plan", "suite".
std::string_view ToString(SpecKind kind);

/// The reverse. SpecError at `place` for another name, with the nearest.
SpecKind ParseSpecKind(std::string_view name, std::string_view place);

/// The JSON Schema (draft 7) of such files, pretty-printed, generated from the fields that the readers list; a search
/// file's from the searchers that are registered. configs/schemas holds these texts. A little weaker than the readers:
/// what several fields must be together, only they check.
std::string SchemaJson(SpecKind kind, const SearcherRegistry& searchers);

/// Which kind a document is, judged by its keys. SpecError at `place` where it isn't JSON, and where no kind has more
/// of its keys than all others.
SpecKind DetectSpecKind(std::string_view json, const std::string& place, const SearcherRegistry& searchers);

/// Reads the document as a run would. SpecError for the first mistake: its JSON pointer, what was found and what is
/// allowed. `warnings` (may be null) gets what a run would warn of.
void CheckSpec(SpecKind kind, std::string_view json, const std::string& place, const SearcherRegistry& searchers,
               std::vector<std::string>* warnings);

}  // namespace shardscout
