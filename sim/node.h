// Node: a simulated machine. Its disks and files outlive its process, which can crash and be started again.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rt/reactor.h"
#include "sim/disk.h"
#include "sim/world.h"

namespace holdfast::sim {

class SimReactor;

enum class CrashKind : std::uint8_t {
  process,  // SIGKILL: completed writes stay, the peers of its connections hear of it
  power,    // unflushed sectors are lost, kept or torn; peers hear nothing until the machine is up again
};

// One run of a program on a machine.
class Process {
 public:
  Process(World& world, Node& node, unsigned core_count, std::size_t buffer_budget_bytes);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  const Cores& cores() const noexcept { return *cores_; }
  SimReactor& core(unsigned index) noexcept { return *reactors_[index]; }
  unsigned core_count() const noexcept { return static_cast<unsigned>(reactors_.size()); }
  bool owns(const SimReactor& r) const noexcept;

 private:
  std::vector<std::unique_ptr<SimReactor>> reactors_;
  std::unique_ptr<Cores> cores_;
};

class Node {
 public:
  Node(World& world, unsigned index, std::string name);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();

  World& world() noexcept { return world_; }
  unsigned index() const noexcept { return index_; }
  const std::string& name() const noexcept { return name_; }
  const std::string& ipv4() const noexcept { return ipv4_; }
  const std::string& ipv6() const noexcept { return ipv6_; }
  // The address is one of this machine's, loopback and wildcards included.
  bool has_address(std::string_view address) const noexcept;

  SimDisk& add_disk(std::string path, const DiskOptions& options);
  // The disk is found there, too, as a device of its own.
  void add_path(std::string path, std::string_view of);
  SimDisk* find_disk(std::string_view path) noexcept;
  SimDisk& disk(std::string_view path) noexcept { return *find_disk(path); }
  std::map<std::string, std::string>& files() noexcept { return files_; }
  void set_files_fail(bool fail) noexcept { files_fail_ = fail; }
  bool files_fail() const noexcept { return files_fail_; }

  // Starts a process. None is running.
  Process& start(unsigned core_count = 1, std::size_t buffer_budget_bytes = 16 << 20);
  Process* process() noexcept { return process_.get(); }  // nullptr when none is running
  bool powered() const noexcept { return powered_; }
  // Ends the process, which has come to rest (asserted).
  void stop();
  // Never called by code of that process: make it an event of the world. What the process was made of must
  // be buried by whoever owns it: bury(object.release()).
  void crash(CrashKind kind);
  // All its cores stand still for that long.
  void freeze(Nanos duration);

 private:
  World& world_;
  const unsigned index_;
  const std::string name_;
  const std::string ipv4_;
  const std::string ipv6_;
  std::map<std::string, std::shared_ptr<SimDisk>, std::less<>> disks_;  // by path
  std::map<std::string, std::string> files_;
  bool files_fail_ = false;
  bool powered_ = true;
  std::unique_ptr<Process> process_;
};

}  // namespace holdfast::sim
