#pragma once

#include <vector>

#include "env/live/live_messages.h"
#include "env/live/worker/process_groups.h"

namespace shardscout::live {

/// Does what the request says together with all other ranks; the answer is whole on rank 0 and empty elsewhere. Keeps
/// the unsharded models of earlier requests.
class Measurer {
 public:
  explicit Measurer(World& world);
  ~Measurer();
  std::vector<LiveMeasurement> Run(const LiveRequest& request);

 private:
  struct Models;
  World& world_;
  std::unique_ptr<Models> models_;
};

}  // namespace shardscout::live
