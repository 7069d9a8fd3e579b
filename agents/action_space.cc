#include "agents/action_space.h"

#include <bit>
#include <cmath>

#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

constexpr int kNumBumps = 15;  // log2 of 1 .. 16,384
constexpr int kNumSizes = static_cast<int>(Variable::kNumMicrobatches) + 1;

void AppendSizeFeatures(std::int64_t size, std::int64_t num_devices, std::vector<float>& features) {
  const auto bits = static_cast<std::uint64_t>(size);
  const double log2_size = std::log2(static_cast<double>(size));
  const int twos = std::countr_zero(bits);
  features.push_back(static_cast<float>(log2_size / 8 - 1));
  for (int k = 0; k < kNumBumps; ++k) {
    const double distance = (log2_size - k) / 0.7;
    features.push_back(static_cast<float>(2 * std::exp(-distance * distance / 2)));
  }
  features.push_back(static_cast<float>(std::min(twos, 8)) / 4.0F - 1.0F);
  features.push_back(size % 3 == 0 ? 1.0F : 0.0F);
  features.push_back(std::has_single_bit(bits) ? 1.0F : 0.0F);
  features.push_back(size % 3 == 0 && std::has_single_bit(bits / 3) ? 1.0F : 0.0F);
  features.push_back(num_devices % size == 0 ? 1.0F : 0.0F);
}

}  // namespace

StrategyActionSpace::StrategyActionSpace(const StrategySpace& space) : space_(space) {
  for (int variable = 0; variable < kNumVariables; ++variable) {
    const std::span<const std::int64_t> values = space.Values(variable);
    if (values.size() < 2) continue;
    variables_.push_back(variable);
    SubAction& sub_action = sub_actions_.emplace_back();
    for (const double weight : space.PriorWeights(variable)) sub_action.log_prior.push_back(std::log(weight));
    if (variable >= kNumSizes) continue;
    for (const std::int64_t value : values) {
      AppendSizeFeatures(value, space.problem().cluster().num_devices, sub_action.features);
    }
  }
}

void StrategyActionSpace::AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const {
  SHARDSCOUT_CHECK_OP(prefix.size(), <, variables_.size());
  std::array<int, kNumVariables> full{};
  for (std::size_t i = 0; i < prefix.size(); ++i) full[static_cast<std::size_t>(variables_[i])] = prefix[i];
  space_.AllowedChoices(std::span<const int>(full).first(static_cast<std::size_t>(variables_[prefix.size()])), mask);
}

Choices StrategyActionSpace::Expand(std::span<const int> action) const {
  SHARDSCOUT_CHECK_OP(action.size(), ==, variables_.size());
  Choices choices(kNumVariables, 0);
  for (std::size_t i = 0; i < action.size(); ++i) choices[static_cast<std::size_t>(variables_[i])] = action[i];
  return choices;
}

Choices StrategyActionSpace::Reduce(const Choices& choices) const {
  Choices action;
  for (const int variable : variables_) action.push_back(choices[static_cast<std::size_t>(variable)]);
  return action;
}

}  // namespace shardscout::agents
