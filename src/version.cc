#include "shardscout/version.h"

#define SHARDSCOUT_TEXT_OF(number) #number
#define SHARDSCOUT_TEXT(number) SHARDSCOUT_TEXT_OF(number)

namespace shardscout {

std::string_view Version() {
  return SHARDSCOUT_TEXT(SHARDSCOUT_VERSION_MAJOR) "." SHARDSCOUT_TEXT(SHARDSCOUT_VERSION_MINOR) "." SHARDSCOUT_TEXT(
      SHARDSCOUT_VERSION_PATCH);
}

}  // namespace shardscout
