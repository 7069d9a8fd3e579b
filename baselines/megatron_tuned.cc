#include "baselines/megatron_tuned.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "env/searcher_config.h"
#include "shardscout/megatron_rule.h"

namespace shardscout::baselines {
namespace {

class MegatronTuned final : public Searcher {
 public:
  explicit MegatronTuned(const MegatronTunedConfig& config) : config_(config) {}

  std::string_view Name() const override { return "megatron-tuned"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t) override {
    std::vector<Strategy> batch;
    ForEachMegatronStrategy(environment.space(), [&](const Strategy& strategy) {
      batch.push_back(strategy);
      if (batch.size() < static_cast<std::size_t>(config_.minibatch_size)) return true;
      environment.Evaluate(batch);
      batch.clear();
      return environment.ended() == EndReason::kNone;
    });
    if (!batch.empty()) environment.Evaluate(batch);
    return SearchStatus::kFinished;
  }

 private:
  const MegatronTunedConfig config_;
};

}  // namespace

std::unique_ptr<Searcher> MakeMegatronTuned(const MegatronTunedConfig& config) {
  return std::make_unique<MegatronTuned>(config);
}

}  // namespace shardscout::baselines
