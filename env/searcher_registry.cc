#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/searcher.h"
#include "src/choices.h"

namespace shardscout {

std::string_view ToString(SearchStatus status) {
  switch (status) {
    case SearchStatus::kProvenOptimal:
      return "proven_optimal";
    case SearchStatus::kBudgetExhausted:
      return "budget_exhausted";
    case SearchStatus::kSpaceExhausted:
      return "space_exhausted";
    case SearchStatus::kTimeLimit:
      return "time_limit";
    case SearchStatus::kProvenInfeasible:
      return "proven_infeasible";
    case SearchStatus::kNothingFound:
      return "nothing_found";
    case SearchStatus::kInterrupted:
      return "interrupted";
    case SearchStatus::kFinished:
      return "finished";
    case SearchStatus::kGapReached:
      return "gap_reached";
  }
  SHARDSCOUT_CHECK(false && "unknown status");
  return "";
}

SearchStatus StatusOf(const SearchEnvironment& environment, SearchStatus claim) {
  const bool found = environment.best() && environment.best()->evaluation.Feasible();
  // A proof stands whatever ended the search; one that contradicts what was found is a bug.
  if (claim == SearchStatus::kProvenInfeasible) {
    SHARDSCOUT_CHECK(!found);
    return claim;
  }
  if ((claim == SearchStatus::kProvenOptimal || claim == SearchStatus::kGapReached) && found) return claim;
  switch (environment.ended()) {
    case EndReason::kInterrupted:
      return SearchStatus::kInterrupted;
    case EndReason::kSpace:
      return found ? SearchStatus::kSpaceExhausted : SearchStatus::kProvenInfeasible;
    case EndReason::kBudget:
      return found ? SearchStatus::kBudgetExhausted : SearchStatus::kNothingFound;
    case EndReason::kTime:
      return found ? SearchStatus::kTimeLimit : SearchStatus::kNothingFound;
    case EndReason::kEnough:
      return SearchStatus::kGapReached;
    case EndReason::kNone:
    case EndReason::kStalled:
      return found ? SearchStatus::kFinished : SearchStatus::kNothingFound;
  }
  SHARDSCOUT_CHECK(false && "unknown end reason");
  return claim;
}

void SearcherRegistry::Register(std::string name, Entry entry) {
  const bool added = entries_.emplace(name, std::move(entry)).second;
  SHARDSCOUT_CHECK(added && "a searcher of this name is registered already");
}

std::unique_ptr<Searcher> SearcherRegistry::Make(const std::string& name, const SearcherSettings& settings) const {
  const auto found = entries_.find(name);
  if (found != entries_.end()) return found->second.factory(settings);
  throw internal::UnknownName("searcher", name, "a searcher", Names());
}

std::vector<std::string> SearcherRegistry::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

}  // namespace shardscout
