-- runtime.crypto, against published vectors where there are some.
local crypto = require "runtime.crypto"
local task = require "runtime.task"
local testing = require "footlight.testing"

describe("digests", function()
  it("match FIPS 180-4 and RFC 4231", function()
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", crypto.hex(crypto.sha256("abc")))
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      crypto.hex(crypto.hmac_sha256("Jefe", "what do ya want for nothing?")))
    assert.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      crypto.hex(crypto.hmac_sha256(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First")))
  end)

  it("compare and encode", function()
    assert.is_true(crypto.equal("abc", "abc"))
    assert.is_false(crypto.equal("abc", "abd"))
    assert.is_false(crypto.equal("abc", "abcd"))
    assert.equal("_-8", crypto.base64url("\xff\xef"))
    assert.equal("\xff\xef", crypto.unbase64("_-8"))
    assert.is_nil((crypto.unbase64("!")))
    assert.equal("\0\255", crypto.unhex("00ff"))
    assert.is_nil((crypto.unhex("0")))
  end)
end)

describe("random", function()
  it("is of the size asked for and never the same", function()
    assert.equal(16, #crypto.random_bytes(16))
    assert.equal(32, #crypto.random_token())
    assert.not_equal(crypto.random_token(), crypto.random_token())
    for _ = 1, 200 do
      local n = crypto.random_below(3)
      assert.is_true(n >= 0 and n < 3)
    end
  end)
end)

describe("passwords", function()
  it("are hashed with Argon2id and a salt, off the loop", function()
    local ticks = 0
    local ticker = task.every(0.001, function() ticks = ticks + 1 end)
    local one, two = crypto.password_hash("secret"), crypto.password_hash("secret")
    ticker:cancel()
    assert.matches("^%$argon2id%$", one)
    assert.not_equal(one, two)
    assert.same({ true, false }, { crypto.password_verify(one, "secret") })
    assert.same({ false, false }, { crypto.password_verify(one, "Secret") })
    assert.is_false((crypto.password_verify("not a hash", "secret")))
    pcall(ticker.wait, ticker)
  end)

  it("tell when the cost has been raised since", function()
    local hash = crypto.password_hash("secret")
    testing.with_settings({ ["crypto.argon2_operations"] = 3 }, function()
      assert.same({ true, true }, { crypto.password_verify(hash, "secret") })
    end)
  end)
end)

describe("sealed boxes", function()
  it("open with their key and when nobody touched them", function()
    local box = crypto.seal("passport no. 7")
    assert.not_equal(box, crypto.seal("passport no. 7"))
    assert.equal("passport no. 7", crypto.unseal(box))
    assert.equal("", crypto.unseal(crypto.seal("")))
    local last = box:sub(-5, -5) == "A" and "B" or "A"
    local nothing, why = crypto.unseal(box:sub(1, -6) .. last .. box:sub(-4))
    assert.is_nil(nothing)
    assert.equal("not a box of ours", why)
    assert.is_nil((crypto.unseal("short")))
    assert.is_nil((crypto.unseal(box, "cookie")))
  end)
end)

describe("tokens", function()
  local now = os.time()

  it("carry claims", function()
    local token = crypto.jwt_sign({ sub = "7", exp = now + 60, caps = { "chat:*" } }, "token")
    local claims = crypto.jwt_verify(token, "token")
    assert.equal("7", claims.sub)
    assert.equal(now + 60, claims.exp)
    assert.same({ "chat:*" }, claims.caps)
  end)

  it("are refused when forged, unsigned, of another key or too old", function()
    local token = crypto.jwt_sign({ sub = "7", exp = now + 60 }, "token")
    local head, body, mac = token:match("^(.-)%.(.-)%.(.-)$")
    local none = crypto.base64url('{"alg":"none","typ":"JWT"}')
    local other = crypto.base64url('{"sub":"8"}')
    for _, bad in ipairs { "", "..", "a.b.c", head .. "." .. body, head .. "." .. body .. ".",
      none .. "." .. body .. ".", none .. "." .. body .. "." .. mac,
      head .. "." .. other .. "." .. mac, token .. ".x", token .. "x" } do
      local claims, why = crypto.jwt_verify(bad, "token")
      assert.is_nil(claims, bad)
      assert.equal("not a token of ours", why)
    end
    assert.is_nil((crypto.jwt_verify(token, "cookie")))
    testing.advance(61)
    assert.same({ nil, "expired" }, { crypto.jwt_verify(token, "token") })
  end)
end)

describe("one-time codes", function()
  local key = "12345678901234567890"

  it("match RFC 6238", function()
    assert.equal("287082", crypto.totp(key, 59))
    assert.equal("081804", crypto.totp(key, 1111111109))
    assert.equal("353130", crypto.totp(key, 20000000000))
    assert.equal("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", crypto.base32(key))
  end)

  it("are good once, and for a step before and after", function()
    local step = crypto.totp_verify(key, crypto.totp(key))
    assert.equal("integer", math.type(step))
    assert.is_nil(crypto.totp_verify(key, crypto.totp(key), step))
    assert.is_truthy(crypto.totp_verify(key, crypto.totp(key, os.time() - 30)))
    assert.is_nil(crypto.totp_verify(key, crypto.totp(key, os.time() - 120)))
    assert.is_nil(crypto.totp_verify(key, "12345"))
  end)
end)
