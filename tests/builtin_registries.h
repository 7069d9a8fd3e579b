#pragma once

#include <cstdint>
#include <string>

#include "shardscout/run_search.h"

namespace shardscout::testing {

/// What the library brings along without LibTorch.
struct BuiltinRegistries {
  BuiltinRegistries() {
    RegisterBuiltinSearchers(searchers);
    RegisterBuiltinEvaluators(evaluators);
  }
  SearchReport Run(const Problem& problem, const SearchRequest& request) const {
    return RunSearch(problem, request, searchers, evaluators);
  }
  SearchReport Run(const Problem& problem, const std::string& searcher, std::int64_t budget) const {
    SearchRequest request;
    request.searcher = searcher;
    request.budget = budget;
    return Run(problem, request);
  }
  SearcherRegistry searchers;
  EvaluatorRegistry evaluators;
};

}  // namespace shardscout::testing
