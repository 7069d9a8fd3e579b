#pragma once

#include <vector>

#include "agents/action_space.h"

namespace shardscout::agents {

/// What of a compound action is settled before the policy decides the rest.
struct Guide {
  static constexpr int kOpen = -1;
  /// For each sub-action the choice that it gets where the mask allows it, else the allowed one with the nearest index;
  /// kOpen: the policy decides. Empty: the policy decides all. [num_sub_actions]
  Choices settled;
  /// Where the policy decides: a choice that it may not take as long as it has another; kOpen: none. Empty: none.
  Choices avoided;
};

}  // namespace shardscout::agents
