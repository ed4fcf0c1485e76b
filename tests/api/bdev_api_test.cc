// BdevRpc: each call with good input, each kind of bad input, and repeated.
#include <filesystem>
#include <fstream>

#include "api/api_test.h"

namespace holdfast::api_test {
namespace {

using google::protobuf::Empty;

class BdevApi : public ApiTest {
 protected:
  grpc::Status create(const std::string& uri) {
    v1::CreateBdevRequest request;
    request.set_uri(uri);
    v1::CreateBdevResponse reply;
    return call(engine_.bdev(), &v1::BdevRpc::Stub::Create, request, &reply);
  }
  grpc::Status destroy(const std::string& uri) {
    v1::DestroyBdevRequest request;
    request.set_uri(uri);
    Empty reply;
    return call(engine_.bdev(), &v1::BdevRpc::Stub::Destroy, request, &reply);
  }
  grpc::Status share(const std::string& name, v1::ShareProtocol protocol = v1::NVMF,
                     const std::vector<std::string>& hosts = {}, v1::BdevShareResponse* reply = nullptr) {
    v1::BdevShareRequest request;
    request.set_name(name);
    request.set_protocol(protocol);
    for (const auto& h : hosts) request.add_allowed_hosts(h);
    v1::BdevShareResponse ignored;
    return call(engine_.bdev(), &v1::BdevRpc::Stub::Share, request, reply != nullptr ? reply : &ignored);
  }
  grpc::Status unshare(const std::string& name) {
    v1::BdevUnshareRequest request;
    request.set_name(name);
    Empty reply;
    return call(engine_.bdev(), &v1::BdevRpc::Stub::Unshare, request, &reply);
  }
  std::vector<v1::Bdev> list(const std::string& name = "") {
    v1::ListBdevOptions request;
    if (!name.empty()) request.mutable_name()->set_value(name);
    v1::ListBdevResponse reply;
    EXPECT_OK(call(engine_.bdev(), &v1::BdevRpc::Stub::List, request, &reply));
    return {reply.bdevs().begin(), reply.bdevs().end()};
  }
  std::string sparse_file(const std::string& name, std::uintmax_t bytes) {
    const std::string path = scratch_.path(name);
    const std::ofstream made(path);
    std::filesystem::resize_file(path, bytes);
    return path;
  }
};

TEST_F(BdevApi, CreateShowsTheDevice) {
  const auto b = create_bdev("malloc:///disk0?size_mb=8&blk_size=4096&uuid=" + std::string(uuid));
  EXPECT_EQ(b.name(), "disk0");
  EXPECT_EQ(b.uuid(), uuid);
  EXPECT_EQ(b.blk_size(), 4096u);
  EXPECT_EQ(b.num_blocks(), 2048u);
  EXPECT_FALSE(b.claimed());
  EXPECT_EQ(b.share_uri(), "bdev:///disk0?uuid=" + std::string(uuid));
  EXPECT_THAT(b.uri(), HasSubstr("malloc:///disk0"));
  EXPECT_FALSE(b.product_name().empty());
}

TEST_F(BdevApi, CreateAgainSaysThatItExists) {
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_CODE(create("malloc:///disk0?size_mb=8"), ALREADY_EXISTS, "disk0");
  EXPECT_EQ(list().size(), 1u);
}

TEST_F(BdevApi, CreateRefusesWhatTheUriGetsWrong) {
  EXPECT_CODE(create(""), INVALID_ARGUMENT, "");
  EXPECT_CODE(create("not a uri"), INVALID_ARGUMENT, "");
  EXPECT_CODE(create("ftl:///disk0"), INVALID_ARGUMENT, "ftl");
  EXPECT_CODE(create("malloc:///disk0"), INVALID_ARGUMENT, "size_mb");
  EXPECT_CODE(create("malloc:///disk0?size_mb=0"), INVALID_ARGUMENT, "");
  EXPECT_CODE(create("malloc:///disk0?size_mb=x"), INVALID_ARGUMENT, "size_mb");
  EXPECT_CODE(create("malloc:///disk0?size_mb=8&colour=red"), INVALID_ARGUMENT, "colour");
  EXPECT_CODE(create("malloc:///disk0?size_mb=8&blk_size=1000"), INVALID_ARGUMENT, "blk_size");
  EXPECT_CODE(create("malloc:///disk0?size_mb=8&uuid=1-2-3"), INVALID_ARGUMENT, "uuid");
  EXPECT_CODE(create("malloc:///" + std::string(5000, 'x')), INVALID_ARGUMENT, "");
  EXPECT_CODE(create("bdev:///nothing"), NOT_FOUND, "nothing");
  EXPECT_TRUE(list().empty());
}

TEST_F(BdevApi, AFileIsADevice) {
  const auto path = sparse_file("disk.img", 16 << 20);
  const auto b = create_bdev("aio://" + path + "?blk_size=512");
  EXPECT_EQ(b.num_blocks(), (16u << 20) / 512);
  EXPECT_CODE(create("aio://" + scratch_.path("missing.img")), NOT_FOUND, "missing.img");
  EXPECT_CODE(create("aio://" + scratch_.path()), INVALID_ARGUMENT, scratch_.path());
}

TEST_F(BdevApi, DestroyEndsTheDeviceOnce) {
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_OK(destroy("malloc:///disk0?size_mb=8"));
  EXPECT_CODE(destroy("malloc:///disk0?size_mb=8"), NOT_FOUND, "disk0");
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_OK(destroy("disk0"));
  EXPECT_CODE(destroy("disk0"), NOT_FOUND, "there is no device 'disk0'");
  EXPECT_TRUE(list().empty());
}

TEST_F(BdevApi, ListFindsByName) {
  create_bdev("malloc:///a?size_mb=8");
  create_bdev("malloc:///b?size_mb=8");
  EXPECT_EQ(list().size(), 2u);
  ASSERT_EQ(list("b").size(), 1u);
  EXPECT_EQ(list("b")[0].name(), "b");
  EXPECT_TRUE(list("c").empty());
}

TEST_F(BdevApi, ShareGivesAUriAndKeepsIt) {
  const auto b = create_bdev("malloc:///disk0?size_mb=8");
  v1::BdevShareResponse first;
  EXPECT_OK(share("disk0", v1::NVMF, {}, &first));
  EXPECT_EQ(first.bdev().share_uri(), "nvmf://127.0.0.1:" + std::to_string(engine_.nvmf_port()) +
                                          "/nqn.2019-05.io.openebs:disk0?uuid=" + b.uuid());
  v1::BdevShareResponse second;
  EXPECT_OK(share("disk0", v1::NVMF, {"nqn.2014-08.org.nvmexpress:host"}, &second));
  EXPECT_EQ(second.bdev().share_uri(), first.bdev().share_uri());
  EXPECT_EQ(list("disk0")[0].share_uri(), first.bdev().share_uri());
}

TEST_F(BdevApi, ShareRefusesWhatItCannotDo) {
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_CODE(share("disk1"), NOT_FOUND, "there is no device 'disk1'");
  EXPECT_CODE(share("disk0", v1::ISCSI), INVALID_ARGUMENT, "iSCSI is not supported");
  EXPECT_CODE(share("disk0", v1::NONE), INVALID_ARGUMENT, "NONE exports nothing");
  EXPECT_CODE(share("disk0", static_cast<v1::ShareProtocol>(77)), INVALID_ARGUMENT, "77 is not a protocol");
  EXPECT_CODE(share("disk0", v1::NVMF, {"my-host"}), INVALID_ARGUMENT, "'my-host' is not an NQN");
  EXPECT_CODE(share("disk0", v1::NVMF, std::vector<std::string>(65, "nqn.a")), INVALID_ARGUMENT,
              "at most 64");
  EXPECT_THAT(list("disk0")[0].share_uri(), HasSubstr("bdev:///"));
}

TEST_F(BdevApi, UnshareCanBeRepeated) {
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_OK(share("disk0"));
  EXPECT_OK(unshare("disk0"));
  EXPECT_OK(unshare("disk0"));
  EXPECT_CODE(unshare("disk1"), NOT_FOUND, "disk1");
  EXPECT_THAT(list("disk0")[0].share_uri(), HasSubstr("bdev:///"));
  EXPECT_OK(destroy("disk0"));
}

TEST_F(BdevApi, ASharedDeviceIsNotDestroyed) {
  create_bdev("malloc:///disk0?size_mb=8");
  EXPECT_OK(share("disk0"));
  EXPECT_CODE(destroy("disk0"), FAILED_PRECONDITION, "device 'disk0' is shared: unshare it first");
  EXPECT_TRUE(list("disk0")[0].claimed());
}

// Unless the nexus has reserved it: reservation_api_test.cc.
TEST_F(BdevApi, WhatANexusUsesIsNeitherSharedNorDestroyed) {
  auto request = nexus_request(make_children(1));
  request.set_resvkey(0);
  v1::CreateNexusResponse reply;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, request, &reply));
  EXPECT_CODE(share("m0"), FAILED_PRECONDITION, "m0");
  EXPECT_CODE(destroy("m0"), FAILED_PRECONDITION, "m0");
  EXPECT_TRUE(list("m0")[0].claimed());
  EXPECT_CODE(destroy("volume-1"), FAILED_PRECONDITION, "is a nexus");
  EXPECT_CODE(share("volume-1"), FAILED_PRECONDITION, "PublishNexus");
  EXPECT_CODE(unshare("volume-1"), FAILED_PRECONDITION, "UnpublishNexus");
}

}  // namespace
}  // namespace holdfast::api_test
