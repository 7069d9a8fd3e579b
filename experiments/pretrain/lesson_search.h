#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/evaluator.h"
#include "shardscout/problem.h"
#include "shardscout/search_environment.h"
#include "shardscout/strategy_space.h"

namespace shardscout::pretrain {

/// A lesson's problem once more, by the analytical evaluator: rewards are shares of what `best` is worth.
class LessonSearch {
 public:
  LessonSearch(std::uint64_t seed, const Strategy& best, const EvaluatorRegistry& evaluators, std::int64_t budget);

  const StrategySpace& space() const { return space_; }
  SearchEnvironment& environment() { return *environment_; }

 private:
  const Problem problem_;
  const StrategySpace space_;
  const std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<SearchEnvironment> environment_;
};

}  // namespace shardscout::pretrain
