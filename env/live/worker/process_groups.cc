#include "env/live/worker/process_groups.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::live {
namespace {

c10::intrusive_ptr<c10d::TCPStore> Connect(const WorldOptions& options) {
  c10d::TCPStoreOptions store;
  store.port = static_cast<std::uint16_t>(options.master_port);
  store.isServer = options.rank == 0;
  store.waitWorkers = false;
  // The store counts in seconds. Rank 0 has only itself to reach.
  constexpr std::chrono::milliseconds kOwn{30000}, kLeast{1000};
  store.timeout = options.rank == 0 ? kOwn : std::max(options.timeout, kLeast);
#if TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR >= 202
  store.useLibUV = false;  // Debian's is built without it.
#endif
  const std::string place = options.master_address + ":" + std::to_string(options.master_port);
  try {
    return c10::make_intrusive<c10d::TCPStore>(options.master_address, store);
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    if (options.rank != 0) {
      throw std::runtime_error("no rank 0 answers at " + place + " within the time-out; is it started, and reachable?");
    }
    const bool in_use = reason.find("in use") != std::string::npos || reason.find("EADDRINUSE") != std::string::npos;
    throw std::runtime_error("cannot listen at " + place + (in_use ? ": the port is in use" : "") +
                             "; give another port (--port, or MASTER_PORT)");
  }
}

c10::intrusive_ptr<c10d::Work> CheckedWork(c10::intrusive_ptr<c10d::Work> work) {
  SHARDSCOUT_CHECK(work != nullptr);
  return work;
}

void Wait(const c10::intrusive_ptr<c10d::Work>& work) { CheckedWork(work)->wait(); }

bool AllEqual(const std::vector<std::int64_t>& sizes) {
  return std::all_of(sizes.begin(), sizes.end(), [&](std::int64_t size) { return size == sizes.front(); });
}

}  // namespace

World::World(WorldOptions options) : options_(std::move(options)), tcp_(Connect(options_)), store_(tcp_) {}

int World::port() const { return tcp_->getPort(); }

c10::intrusive_ptr<Communicator> World::Make(const std::string& name, int rank, int size) {
  auto store = c10::make_intrusive<c10d::PrefixStore>(name, store_);
#ifdef USE_C10D_NCCL
  if (options_.backend == "nccl") {
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = options_.timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, nccl);
  }
#endif
  if (options_.backend != "gloo") {
    throw std::runtime_error("this build has no backend " + options_.backend + "; gloo is there");
  }
  auto gloo = c10d::ProcessGroupGloo::Options::create(options_.timeout);
  gloo->threads = 1;
  const bool local = options_.master_address == "127.0.0.1" || options_.master_address == "localhost";
  gloo->devices.push_back(local ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                : c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, gloo);
}

Communicator& World::GroupOf(const std::vector<std::int64_t>& ranks) {
  auto found = groups_.find(ranks);
  if (found == groups_.end()) {
    const auto own = std::find(ranks.begin(), ranks.end(), std::int64_t{options_.rank});
    SHARDSCOUT_CHECK(own != ranks.end());
    std::string name = "group";
    for (const std::int64_t rank : ranks) name += "-" + std::to_string(rank);
    auto group = Make(name, static_cast<int>(own - ranks.begin()), static_cast<int>(ranks.size()));
    found = groups_.emplace(ranks, std::move(group)).first;
  }
  return *found->second;
}

Communicator& World::All() {
  std::vector<std::int64_t> ranks(static_cast<std::size_t>(options_.size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return GroupOf(ranks);
}

void World::Barrier() {
  if (options_.size == 1) return;
  AllReduce(All(), at::zeros({1}, at::TensorOptions().device(options_.device)));
  Synchronise();
}

void World::Synchronise() const {
  if (options_.device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(options_.device.type());
  guard.synchronizeStream(guard.getStream(options_.device));
}

void AllReduce(Communicator& group, at::Tensor buffer) {
  if (buffer.numel() == 0) return;  // On every member; Gloo divides by it.
  std::vector<at::Tensor> buffers{std::move(buffer)};
  Wait(group.allreduce(buffers));
}

at::Tensor AllGather(Communicator& group, const at::Tensor& flat, const std::vector<std::int64_t>& sizes) {
  at::Tensor all = at::empty({std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0})}, flat.options());
  if (all.numel() == 0) return all;
  if (AllEqual(sizes)) {
    std::vector<std::vector<at::Tensor>> parts{all.split_with_sizes(sizes)};
    std::vector<at::Tensor> own{flat};
    Wait(group.allgather(parts, own));
    return all;
  }
  const std::vector<std::int64_t> same(sizes.size(), flat.numel());
  return AllToAll(group, flat.repeat({static_cast<std::int64_t>(sizes.size())}), same, sizes);
}

at::Tensor AllToAll(Communicator& group, const at::Tensor& flat, std::vector<std::int64_t> send_sizes,
                    std::vector<std::int64_t> receive_sizes) {
  const std::int64_t total = std::accumulate(receive_sizes.begin(), receive_sizes.end(), std::int64_t{0});
  at::Tensor received = at::empty({total}, flat.options());
  at::Tensor sent = flat;
  Wait(group.alltoall_base(received, sent, receive_sizes, send_sizes));
  return received;
}

at::Tensor ReduceScatter(Communicator& group, const at::Tensor& flat, const std::vector<std::int64_t>& sizes) {
  const auto own = sizes[static_cast<std::size_t>(group.getRank())];
  if (!flat.device().is_cpu() && AllEqual(sizes)) {
    at::Tensor sum = at::empty({own}, flat.options());
    std::vector<at::Tensor> sums{sum};
    std::vector<std::vector<at::Tensor>> parts{flat.split_with_sizes(sizes)};
    Wait(group.reduce_scatter(sums, parts));
    return sum;
  }
  const std::vector<std::int64_t> received(sizes.size(), own);
  return AllToAll(group, flat, sizes, received).view({static_cast<std::int64_t>(sizes.size()), own}).sum(0);
}

std::vector<std::string> GatherText(World& world, const std::string& own) {
  if (world.size() == 1) return {own};
  const at::Device device = world.options().device;
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(world.size()), 1);
  const at::Tensor length = at::full({1}, std::ssize(own), at::TensorOptions().dtype(at::kLong)).to(device);
  const at::Tensor lengths = AllGather(world.All(), length, ones).to(at::kCPU);
  const std::vector<std::int64_t> sizes(lengths.data_ptr<std::int64_t>(),
                                        lengths.data_ptr<std::int64_t>() + lengths.numel());
  at::Tensor bytes = at::empty({std::ssize(own)}, at::TensorOptions().dtype(at::kByte));
  std::copy(own.begin(), own.end(), bytes.data_ptr<std::uint8_t>());
  const at::Tensor all = AllGather(world.All(), bytes.to(device), sizes).to(at::kCPU).contiguous();
  std::vector<std::string> texts;
  const std::uint8_t* next = all.data_ptr<std::uint8_t>();
  for (const std::int64_t size : sizes) {
    texts.emplace_back(next, next + size);
    next += size;
  }
  return texts;
}

PendingSend Send(World& world, const at::Tensor& flat, std::int64_t to, int tag) {
  std::vector<at::Tensor> buffers{flat};
  return {flat, CheckedWork(world.All().send(buffers, static_cast<int>(to), tag))};
}

void Receive(World& world, at::Tensor flat, std::int64_t from, int tag) {
  std::vector<at::Tensor> buffers{std::move(flat)};
  Wait(world.All().recv(buffers, static_cast<int>(from), tag));
}

}  // namespace shardscout::live
