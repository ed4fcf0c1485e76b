// The connection to an engine's gRPC API, and how its answers and errors reach the user. For the command
// files of this folder only: it brings gRPC's headers with it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include "cli/tool/tool.h"

namespace holdfast::cli {

// "http://host:port", "host:port", "host" (port 10124) or "unix:/path", as gRPC wants it. Errors:
// invalid_argument, naming the text.
Result<std::string> grpc_target(const std::string& url);

// Shared by all commands of `holdfast engine`. Options are set by the command line before call() is used.
class EngineClient {
 public:
  explicit EngineClient(Tool& tool) : tool_(tool) {}

  std::string url = "http://127.0.0.1:10124";
  double timeout_seconds = 60;  // for one call

  Tool& tool() noexcept { return tool_; }
  Output& output() noexcept { return tool_.output(); }

  // One call of `rpc` of `Service` and nothing more: the caller decides what an error means. `answer` is set
  // when the status is OK.
  template <class Service, class Request, class Answer>
  grpc::Status try_call(grpc::Status (Service::Stub::*rpc)(grpc::ClientContext*, const Request&, Answer*),
                        const Request& request, Answer* answer) {
    if (auto status = connect(); !status.ok()) return status;
    const auto stub = Service::NewStub(channel_);
    grpc::ClientContext context;
    begin(context, request);
    const grpc::Status status = (stub.get()->*rpc)(&context, request, answer);
    end(status, *answer);
    return status;
  }
  // A call that answers with a stream; `each` gets every message.
  template <class Service, class Answer, class Request>
  grpc::Status try_stream(
      std::unique_ptr<grpc::ClientReader<Answer>> (Service::Stub::*rpc)(grpc::ClientContext*, const Request&),
      const Request& request, const std::function<void(const Answer&)>& each) {
    if (auto status = connect(); !status.ok()) return status;
    const auto stub = Service::NewStub(channel_);
    grpc::ClientContext context;
    begin(context, request);
    const auto reader = (stub.get()->*rpc)(&context, request);
    Answer answer;
    while (reader->Read(&answer)) each(answer);
    const grpc::Status status = reader->Finish();
    end(status, answer);
    return status;
  }
  // As try_call; an error is written and false is the result.
  template <class Service, class Request, class Answer>
  bool call(grpc::Status (Service::Stub::*rpc)(grpc::ClientContext*, const Request&, Answer*),
            const Request& request, Answer* answer) {
    const grpc::Status status = try_call<Service>(rpc, request, answer);
    if (!status.ok()) report(status);
    return status.ok();
  }

  // Writes the error with a hint at the remedy where there is one. Returns exit_failed.
  int report(const grpc::Status& status);
  // Writes an answer: in full for programs, by `table` for people. Returns exit_ok.
  int answer(const google::protobuf::Message& message, const std::function<void()>& table);

 private:
  grpc::Status connect();
  void begin(grpc::ClientContext& context, const google::protobuf::Message& request);
  void end(const grpc::Status& status, const google::protobuf::Message& answer);

  using ChannelHandle = decltype(grpc::CreateChannel({}, nullptr));  // gRPC wants it shared with its stubs

  Tool& tool_;
  ChannelHandle channel_;
  double call_began_ = 0;
};

// "NOT_FOUND", as gRPC documents write it.
const char* grpc_code_name(grpc::StatusCode code) noexcept;

}  // namespace holdfast::cli
