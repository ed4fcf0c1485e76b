// Async<Service>: what the stub of a gRPC service has its calls with callbacks in, as unary() takes them.
#pragma once

#include <type_traits>
#include <utility>

namespace holdfast::rpc {

template <class Service>
using Async = std::remove_pointer_t<decltype(std::declval<typename Service::Stub&>().async())>;

}  // namespace holdfast::rpc
