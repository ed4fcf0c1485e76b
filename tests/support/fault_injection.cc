#include "support/fault_injection.h"

namespace holdfast::testing_support {

namespace v1 = mayastor::v1;

grpc::Status inject(const EngineProcess& engine, const std::string& uri, bool add) {
  v1::AddFaultInjectionRequest in;
  in.set_uri(uri);
  v1::RemoveFaultInjectionRequest out;
  out.set_uri(uri);
  google::protobuf::Empty reply;
  return add ? call(engine.test(), &v1::TestRpc::Stub::AddFaultInjection, in, &reply)
             : call(engine.test(), &v1::TestRpc::Stub::RemoveFaultInjection, out, &reply);
}

}  // namespace holdfast::testing_support
