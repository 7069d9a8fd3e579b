#include "shardscout/plan.h"

namespace shardscout {

std::string_view Version() { return SHARDSCOUT_VERSION; }

}  // namespace shardscout
