#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "agents/action_space.h"

namespace shardscout::agents {

/// A compound action space on plain arrays: sub-action a has sizes[a] choices with prior weights 1 / (choice + 1), and
/// a choice is masked where (a + choice + the last choice) % 3 is 0 (and where all would be, where the prefix says so,
/// all but the first).
class PlainActionSpace : public ActionSpace {
 public:
  explicit PlainActionSpace(const std::vector<int>& sizes, bool masked = true) : masked_(masked) {
    for (const int size : sizes) {
      SubAction& sub_action = sub_actions_.emplace_back();
      for (int c = 0; c < size; ++c) {
        sub_action.log_prior.push_back(masked ? -std::log(c + 1.0) : 0.0);
        if (size > 8)
          sub_action.features.insert(sub_action.features.end(),
                                     {static_cast<float>(c % 2), 0.1F * static_cast<float>(c)});
      }
    }
  }

  const std::vector<SubAction>& sub_actions() const override { return sub_actions_; }

  void AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const override {
    const std::size_t a = prefix.size();
    mask.assign(sub_actions_[a].NumChoices(), 1);
    if (!masked_) return;
    const std::size_t last = prefix.empty() ? 1 : static_cast<std::size_t>(prefix.back());
    bool any = false;
    for (std::size_t c = 0; c < mask.size(); ++c) {
      mask[c] = (a + c + last) % 3 == 0 ? 0 : 1;
      any = any || mask[c] != 0;
    }
    if (!any) mask[0] = 1;
  }

 private:
  bool masked_;
  std::vector<SubAction> sub_actions_;
};

}  // namespace shardscout::agents
