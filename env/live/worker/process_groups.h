#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "env/live/worker/torch_prelude.h"

namespace shardscout::live {

#if TORCH_VERSION_MAJOR >= 2
using Communicator = c10d::Backend;
#else
using Communicator = c10d::ProcessGroup;
#endif

struct WorldOptions {
  int rank = 0;
  int size = 1;
  std::string master_address = "127.0.0.1";
  int master_port = 0;  ///< Rank 0 may give 0: any that is free.
  std::string backend = "gloo";
  at::Device device = at::kCPU;
  std::chrono::milliseconds timeout{60000};  ///< Of the rendezvous and of each collective.
};

/// The processes of a live run: c10d's store, and the groups of ranks that programs name, made when first asked for and
/// kept. Every call throws where a peer is lost or the time-out passes. Not thread safe.
class World {
 public:
  explicit World(WorldOptions options);

  int rank() const { return options_.rank; }
  int size() const { return options_.size; }
  int port() const;
  const WorldOptions& options() const { return options_; }
  c10d::Store& store() { return *store_; }

  /// The group of these ranks, rising, two or more of them, this rank among them. All of them must ask for it, and ask
  /// for groups in one order.
  Communicator& GroupOf(const std::vector<std::int64_t>& ranks);
  Communicator& All();

  /// Waits until every rank is here.
  void Barrier();
  /// Waits until the device has done what it was given.
  void Synchronise() const;

 private:
  c10::intrusive_ptr<Communicator> Make(const std::string& name, int rank, int size);

  WorldOptions options_;
  c10::intrusive_ptr<c10d::TCPStore> tcp_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::map<std::vector<std::int64_t>, c10::intrusive_ptr<Communicator>> groups_;
};

/// Sums `buffer` over the group, in place.
void AllReduce(Communicator& group, at::Tensor buffer);

/// Concatenated: what every member has, sizes[i] elements of member i. `flat` is this rank's.
at::Tensor AllGather(Communicator& group, const at::Tensor& flat, const std::vector<std::int64_t>& sizes);

/// `flat`: what goes to each member, concatenated. Gives what came from each, concatenated.
at::Tensor AllToAll(Communicator& group, const at::Tensor& flat, std::vector<std::int64_t> send_sizes,
                    std::vector<std::int64_t> receive_sizes);

/// `flat`: one part a member, concatenated. Gives the sum of the parts for this rank. NCCL's own where the parts are
/// equal; Gloo has none, so that the parts are exchanged and added here, which moves the same bytes.
at::Tensor ReduceScatter(Communicator& group, const at::Tensor& flat, const std::vector<std::int64_t>& sizes);

/// What every rank says, by rank.
std::vector<std::string> GatherText(World& world, const std::string& own);

/// A send under way; keeps its buffer.
struct PendingSend {
  at::Tensor buffer;
  c10::intrusive_ptr<c10d::Work> work;
  void Wait() { work->wait(); }
};
PendingSend Send(World& world, const at::Tensor& flat, std::int64_t to, int tag);
void Receive(World& world, at::Tensor flat, std::int64_t from, int tag);

}  // namespace shardscout::live
