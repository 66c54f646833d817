// This process among others: a store that all of them reach, groups by name, and what is under way between them.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "beats.h"

namespace switchyard {

/** Where a world meets. */
struct Meeting {
  std::string host;
  int64_t port;
  bool serves;         // whether this process keeps the store
  std::string prefix;  // of all keys, so that a world that begins again finds none of the last
  std::chrono::milliseconds timeout;
};

/** How often something was sent, and how many bytes left this process by it, as its formula has it. */
struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;
};

/** Ranks that act together. */
struct Group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> ranks;
  std::string name;

  int64_t size() const { return ranks->getSize(); }
  int64_t rank() const { return ranks->getRank(); }
};

using Work = c10::intrusive_ptr<c10d::Work>;

/** One process has one world at most, as in c10d. */
class World {
 public:
  /** @throws c10::Error where this process has joined none */
  static World& current();
  static void join(const Meeting& meeting);
  /** Waits for what is under way. */
  static void leave();

  c10d::Store& store() { return *store_; }

  Group& group(const std::string& name);
  void makeGroup(const std::string& name, int rank, int size, std::chrono::milliseconds timeout);

  /** Ends the connections to other ranks, who hear of it at once; the store stays. Waits for nothing. */
  void hangUp();

  void startBeats(const std::string& key, std::chrono::milliseconds interval);
  void note(const std::string& progress) { activity_.note(progress); }

  /** Waits for a collective, about which others hear meanwhile. */
  void wait(const Work& work, const char* what, const Group& group);
  /** What is done when a work is finished, and what it must keep until then. */
  int64_t begin(Work work, const char* what, const Group& group, std::function<void()> afterwards);
  void finish(int64_t ticket);

  void count(const char* what, int64_t bytes);
  /** `what calls bytes` of each kind, in lines. */
  std::string traffic() const;

 private:
  explicit World(const Meeting& meeting);

  struct Pending {
    Work work;
    const char* what;
    const Group* group;
    std::function<void()> afterwards;
  };

  Meeting meeting_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<::gloo::transport::Device> device_;
  std::map<std::string, Group> groups_;
  std::unordered_map<int64_t, Pending> pending_;
  int64_t nextTicket_ = 0;
  std::map<std::string, Traffic> traffic_;
  Activity activity_;
  std::unique_ptr<Beats> beats_;
};

}  // namespace switchyard
