#include "agents/ppo_searcher.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "agents/action_space.h"
#include "agents/elite_history.h"
#include "agents/experience.h"
#include "agents/ppo.h"
#include "agents/proposals.h"
#include "env/searcher_config.h"
#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

/// One search: the elites and the best result that agents hand on.
class Run {
 public:
  Run(SearchEnvironment& environment, const PpoConfig& config, const PretrainedWeights* weights, std::uint64_t seed)
      : environment_(environment),
        config_(config),
        seed_(seed),
        space_(environment.space()),
        proposals_(environment.space(), space_, config,
                   [&environment](const Strategy& strategy) { return environment.Known(strategy); }),
        history_(static_cast<std::size_t>(config.history_size)) {
    // They were trained on inference, and what holds least memory there holds most here.
    if (weights != nullptr && !environment.problem().workload().IsTraining()) {
      experience_.emplace(
          environment.space(), *weights, config.experience,
          [&environment](const Strategy& strategy) { return environment.Known(strategy); },
          environment.HasEstimates()
              ? [&environment](std::span<const Strategy> some) { return environment.Estimate(some); }
              : Experience::Estimate(),
          seed);
    }
    for (const Scored& scored : environment.start()) Remember(scored);
  }

  bool Over() const { return environment_.ended() != EndReason::kNone || environment_.Remaining() <= 0; }

  AgentReport RunAgent(std::int64_t index) {
    AgentReport report;
    report.index = index;
    if (space_.sub_actions().empty()) return report;  // One strategy: nothing to decide.
    const std::int64_t agents_left = std::max<std::int64_t>(1, config_.num_agents - index);
    report.share = (environment_.Remaining() + agents_left - 1) / agents_left;
    report.inherited_best = best_;
    const std::uint64_t seed = Rng::Stream(seed_, "ppo.agent." + std::to_string(index)).Next();
    PpoAgent agent(space_, config_, seed);
    Rng proposal_rng = Rng::Stream(seed, "proposals");
    std::int64_t stale = 0, confident = 0, last_gain = 0;
    while (report.evaluations < report.share) {
      const double best_before = best_;
      const std::int64_t chosen = ChooseByExperience(proposal_rng);
      report.evaluations += chosen;
      if (Over()) return report;
      if (best_ > best_before) last_gain = report.evaluations;
      if (chosen > 0) continue;
      const double spent = static_cast<double>(report.evaluations) / static_cast<double>(report.share);
      const bool screens = !experience_ && spent < config_.screen_share;
      const std::vector<Choices>& actions = agent.Sample(history_, proposals_.Next(screens, proposal_rng));
      std::vector<Strategy> strategies;
      for (const Choices& action : actions) strategies.push_back(environment_.space().Decode(space_.Expand(action)));
      const std::int64_t before = environment_.Evaluations();
      const std::vector<Scored> answer = Evaluate(strategies);
      const std::int64_t fresh = environment_.Evaluations() - before;
      report.evaluations += fresh;
      for (const Scored& scored : answer) Remember(scored);
      if (best_ > best_before) last_gain = report.evaluations;
      if (answer.size() < strategies.size() || Over()) return report;
      std::vector<double> rewards;
      for (const Scored& scored : answer) rewards.push_back(Shaped(scored.reward, report.inherited_best));
      const UpdateStats update = agent.Update(
          rewards, history_.elites(), static_cast<double>(report.evaluations) / static_cast<double>(report.share));
      ++report.updates;
      stale = fresh > 0 ? 0 : stale + 1;
      const double confidence = agent.GreedyConfidence(history_, config_.exit_probability);
      confident = confidence > config_.exit_probability ? confident + 1 : 0;
      Record(index, answer, fresh, update, confidence);
      report.end = confident >= config_.exit_updates      ? AgentEnd::kConfident
                   : stale >= config_.exit_stale_rollouts ? AgentEnd::kStale
                   : config_.exit_patience > 0 && static_cast<double>(report.evaluations - last_gain) >
                                                      config_.exit_patience * static_cast<double>(report.share)
                       ? AgentEnd::kNoGain
                       : AgentEnd::kShareSpent;
      if (report.end != AgentEnd::kShareSpent) return report;
    }
    return report;
  }

  void Sweep() {
    Choices prefix;
    SweepBelow(prefix);
  }

 private:
  /// Evaluates what the pretrained policy chooses, if it is its turn. Returns what was charged.
  std::int64_t ChooseByExperience(Rng& rng) {
    if (!experience_) return 0;
    const std::int64_t before = environment_.Evaluations();
    if (before >= config_.experience_first && rng.Uniform() >= config_.experience_share) return 0;
    const auto count = std::min(config_.experience_rollout, environment_.Remaining());
    const double left =
        static_cast<double>(environment_.Remaining()) / static_cast<double>(environment_.Remaining() + before);
    for (const Scored& scored : Evaluate(experience_->Next(static_cast<std::size_t>(count), left))) Remember(scored);
    return environment_.Evaluations() - before;
  }

  /// The curves of an agent, a point an update.
  void Record(std::int64_t agent, const std::vector<Scored>& rollout, std::int64_t fresh, const UpdateStats& update,
              double confidence) const {
    const auto count = static_cast<double>(rollout.size());
    double mean = 0, best = kNone;
    for (const Scored& scored : rollout) {
      mean += scored.reward / count;
      best = std::max(best, scored.reward);
    }
    const std::array<Scalar, 9> points = {{{"ppo/agent", static_cast<double>(agent)},
                                           {"ppo/rollout_reward_mean", mean},
                                           {"ppo/rollout_reward_best", best},
                                           {"ppo/rollout_new_share", static_cast<double>(fresh) / count},
                                           {"ppo/surrogate_loss", update.surrogate_loss},
                                           {"ppo/value_loss", update.value_loss},
                                           {"ppo/entropy", update.entropy},
                                           {"ppo/elite_loss", update.elite_loss},
                                           {"ppo/greedy_confidence", confidence}}};
    environment_.Record(points);
  }

  double Shaped(double reward, double inherited) const {
    return reward - config_.inherit_penalty * std::max(0.0, inherited - reward);
  }

  void Remember(const Scored& scored) {
    proposals_.Add(scored.strategy, scored.reward);
    if (experience_) experience_->Add(scored.strategy, scored.reward);
    history_.Add(space_.Reduce(environment_.space().Encode(scored.strategy)), scored.reward);
    best_ = std::max(best_, scored.reward);
  }

  std::vector<Scored> Evaluate(const std::vector<Strategy>& strategies) {
    omp_set_num_threads(threads_.openmp_threads());
    std::vector<Scored> answer = environment_.Evaluate(strategies);
    omp_set_num_threads(1);
    return answer;
  }

  /// False when the search is over.
  bool SweepBelow(Choices& prefix) {
    if (prefix.size() == static_cast<std::size_t>(kNumVariables)) {
      const Strategy strategy = environment_.space().Decode(prefix);
      if (!environment_.Known(strategy)) {
        for (const Scored& scored : Evaluate({strategy})) Remember(scored);
      }
      return !Over();
    }
    std::vector<std::uint8_t> mask;
    environment_.space().AllowedChoices(prefix, mask);
    for (std::size_t c = 0; c < mask.size(); ++c) {
      if (!mask[c]) continue;
      prefix.push_back(static_cast<int>(c));
      const bool more = SweepBelow(prefix);
      prefix.pop_back();
      if (!more) return false;
    }
    return true;
  }

  SearchEnvironment& environment_;
  const PpoConfig& config_;
  const std::uint64_t seed_;
  const TorchThreadScope threads_;
  const StrategyActionSpace space_;
  Proposals proposals_;
  EliteHistory history_;
  std::optional<Experience> experience_;
  double best_ = kNone;
};

}  // namespace

PpoSearcher::PpoSearcher(const PpoConfig& config, std::string name, std::shared_ptr<const PretrainedWeights> weights)
    : config_(config), name_(std::move(name)), weights_(std::move(weights)) {
  config_.from_scratch = weights_ == nullptr;
  config_.weights = weights_ ? DigestOf(*weights_) : "";
  if (config.width % 8 != 0 || config.width % (4 * config.num_heads) != 0) {
    throw SpecError("ppo.width",
                    "found " + std::to_string(config.width) +
                        "; it must be a multiple of 8 and of 4 * num_heads = " + std::to_string(4 * config.num_heads));
  }
  if (config.table_width % 8 != 0) {
    throw SpecError("ppo.table_width", "found " + std::to_string(config.table_width) + "; it must be a multiple of 8");
  }
}

SearchStatus PpoSearcher::Search(SearchEnvironment& environment, std::uint64_t seed) {
  Run run(environment, config_, weights_.get(), seed);
  for (std::int64_t index = 0; !run.Over(); ++index) {
    const AgentReport report = run.RunAgent(index);
    if (on_agent) on_agent(report);
    if (report.evaluations > 0 || run.Over()) continue;
    run.Sweep();
    break;
  }
  return SearchStatus::kFinished;
}

std::string PpoSearcher::ConfigJson() const { return env::SettingsJson(config_); }

}  // namespace shardscout::agents
