#include "pool/effects.h"

#include <iterator>
#include <utility>

namespace holdfast::pool {
namespace {

template <class T>
void move_to(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  from.clear();
}

}  // namespace

void Effects::append(Effects&& later) {
  move_to(freed, std::move(later.freed));
  move_to(unshared, std::move(later.unshared));
  move_to(unshared_leaves, std::move(later.unshared_leaves));
  move_to(retired, std::move(later.retired));
}

void Effects::add_freed(Cluster cluster) {
  if (!freed.empty()) {
    ClusterRun& last = freed.back();
    if (to_index(last.first) + last.count == to_index(cluster)) {
      ++last.count;
      return;
    }
  }
  freed.push_back(ClusterRun{cluster, 1});
}

}  // namespace holdfast::pool
