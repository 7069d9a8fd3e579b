#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "agents/ppo_config.h"
#include "shardscout/searcher.h"

namespace shardscout::agents {

/// Why an agent ended.
enum class AgentEnd : std::uint8_t { kShareSpent, kConfident, kStale, kSearchOver };

/// What one agent did, for logs and tests.
struct AgentReport {
  std::int64_t index = 0;
  std::int64_t share = 0;        ///< Evaluations that it was given.
  std::int64_t evaluations = 0;  ///< That it was charged.
  std::int64_t updates = 0;
  double inherited_best = 0;  ///< -infinity for the first.
  AgentEnd end = AgentEnd::kSearchOver;
};

class PpoSearcher : public Searcher {
 public:
  /// SpecError where settings do not fit together.
  explicit PpoSearcher(const PpoConfig& config = {});

  std::string_view Name() const override { return "ppo"; }
  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override;
  std::string ConfigJson() const override;

  /// Called after each agent; for tests and logs.
  std::function<void(const AgentReport&)> on_agent;

 private:
  PpoConfig config_;
};

}  // namespace shardscout::agents
