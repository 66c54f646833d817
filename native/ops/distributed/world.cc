#include "world.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <unistd.h>

#include <cstdlib>
#include <thread>

namespace switchyard {
namespace {

std::unique_ptr<World>& world() {
  static std::unique_ptr<World> world;
  return world;
}

c10::intrusive_ptr<c10d::Store> connect(const Meeting& meeting, bool serves) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(meeting.port);
  options.isServer = serves;
  options.waitWorkers = false;
  options.timeout = meeting.timeout;
  return c10::make_intrusive<c10d::PrefixStore>(meeting.prefix,
                                                c10::make_intrusive<c10d::TCPStore>(meeting.host, options));
}

/** The address of this machine that a packet to `host` leaves from; empty when there is no way. Nothing is sent. */
std::string addressTowards(const std::string& host, int64_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return "";
  std::string result;
  for (const addrinfo* each = found; each != nullptr && result.empty(); each = each->ai_next) {
    const int socket = ::socket(each->ai_family, each->ai_socktype, 0);
    sockaddr_storage own{};
    socklen_t length = sizeof(own);
    auto* address = reinterpret_cast<sockaddr*>(&own);
    char text[NI_MAXHOST];
    if (socket >= 0 && ::connect(socket, each->ai_addr, each->ai_addrlen) == 0 &&
        getsockname(socket, address, &length) == 0 &&
        getnameinfo(address, length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      result = text;
    }
    if (socket >= 0) close(socket);
  }
  freeaddrinfo(found);
  return result;
}

/** What others reach this process by: the interface that GLOO_SOCKET_IFNAME names, or the one that leads to the meeting. */
std::shared_ptr<::gloo::transport::Device> deviceFor(const Meeting& meeting) {
  using Gloo = c10d::ProcessGroupGloo;
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) return Gloo::createDeviceForInterface(interface);
  const std::string address = addressTowards(meeting.host, meeting.port);
  return address.empty() ? Gloo::createDefaultDevice() : Gloo::createDeviceForHostname(address);
}

}  // namespace

World::World(const Meeting& meeting)
    : meeting_(meeting), store_(connect(meeting, meeting.serves)), device_(deviceFor(meeting)) {}

World& World::current() {
  TORCH_CHECK(world() != nullptr, "this process has joined no world");
  return *world();
}

void World::join(const Meeting& meeting) {
  TORCH_CHECK(world() == nullptr, "this process has joined a world already");
  world().reset(new World(meeting));
}

void World::leave() { world().reset(); }

Group& World::group(const std::string& name) {
  const auto found = groups_.find(name);
  TORCH_CHECK(found != groups_.end(), "this process is in no group '", name, "'");
  return found->second;
}

void World::makeGroup(const std::string& name, int rank, int size, std::chrono::milliseconds timeout) {
  TORCH_CHECK(groups_.count(name) == 0, "there is a group '", name, "' already");
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices.push_back(device_);
  options->threads = 2;
  auto store = c10::make_intrusive<c10d::PrefixStore>("group/" + name, store_);
  groups_.emplace(name, Group{c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options), name});
}

void World::hangUp() {
  // Groups end when what they have under way does, which may be never.
  std::thread([groups = std::move(groups_), pending = std::move(pending_)] {}).detach();
  groups_.clear();
  pending_.clear();
}

void World::startBeats(const std::string& key, std::chrono::milliseconds interval) {
  beats_ = std::make_unique<Beats>(connect(meeting_, false), key, interval, activity_);
}

void World::wait(const Work& work, const char* what, const Group& group) {
  activity_.wait(std::string(what) + " of " + group.name);
  work->wait();
  activity_.wait("");
}

int64_t World::begin(Work work, const char* what, const Group& group, std::function<void()> afterwards) {
  pending_.emplace(nextTicket_, Pending{std::move(work), what, &group, std::move(afterwards)});
  return nextTicket_++;
}

void World::finish(int64_t ticket) {
  const auto found = pending_.find(ticket);
  TORCH_CHECK(found != pending_.end(), "nothing is under way by the number ", ticket);
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  wait(pending.work, pending.what, *pending.group);
  pending.afterwards();
}

void World::count(const char* what, int64_t bytes) {
  Traffic& traffic = traffic_[what];
  traffic.calls++;
  traffic.bytes += bytes;
}

std::string World::traffic() const {
  std::string lines;
  for (const auto& [what, traffic] : traffic_)
    lines += what + (" " + std::to_string(traffic.calls)) + " " + std::to_string(traffic.bytes) + "\n";
  return lines;
}

}  // namespace switchyard
