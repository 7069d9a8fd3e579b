#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/search_environment.h"
#include "shardscout/searcher.h"

/// A cascade: a search by a cheap evaluator chooses what a dearer one sees first. The screen is
/// free of charge and reported apart; the strategies that it keeps are the first that the search evaluates, charged,
/// before its searcher goes on from them with what is left of the budget. With `keep` at the budget or above, nothing
/// else is evaluated. A searcher may also ask what the screen's evaluator says of more strategies, before it chooses
/// which to spend the budget on (SearchEnvironment::Estimate; `ppo` does). What the screen says of the winner stands
/// beside what the search's own evaluator says, so that a plan that games one of the two is seen.
namespace shardscout {

struct ScreenRequest {
  std::string evaluator;       ///< Another than the search's.
  std::string searcher;        ///< "": the search's own.
  SearcherSettings settings;   ///< Of that searcher.
  std::int64_t budget = 4000;  ///< Evaluations of the screen, >= 1.
  std::size_t keep = 32;       ///< The best so many go on, >= 1.
};

/// What came of it.
struct ScreenReport {
  std::string evaluator, searcher;
  SearchStatus status = SearchStatus::kNothingFound;
  std::int64_t budget = 0, evaluations = 0;  ///< Of its search; other overlaps of what is kept are priced beside it.
  std::vector<Scored>
      kept;  ///< As the screen scored them, best first: what it found, each with every admitted overlap.
  std::int64_t estimates = 0;  ///< That the searcher asked for afterwards.
  Evaluation of_best;          ///< What the screen says of the search's best strategy, where there is one.
  double wall_s = 0;
};

}  // namespace shardscout
