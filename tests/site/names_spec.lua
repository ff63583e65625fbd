local names = require "site.names"

describe("account names", function()
  it("are 3 to 20 small letters, digits and underscores", function()
    for _, name in ipairs { "ava", "ava_w", "x2_y3", ("a"):rep(20) } do
      assert.is_nil(names.check(name), name)
    end
    for _, name in ipairs { "", "ab", ("a"):rep(21), "Ava", "a-b-c", "a b c", "avä", "ava\n", "a\0b" } do
      assert.equal("signup.bad_name", names.check(name), name)
    end
  end)

  it("cannot pass as the house, however they are spelt", function()
    for _, name in ipairs { "admin", "adm1n", "a_d_m_i_n", "root", "r00t", "rn0derator", "supp0rt", "staff" } do
      assert.equal("signup.name_taken", names.check(name), name)
    end
  end)
end)

describe("addresses of rooms", function()
  it("have hyphens inside only, one at a time", function()
    assert.is_nil(names.check_slug("mara-lind"))
    for _, slug in ipairs { "-mara", "mara-", "mara--lind", "ma", "Mara", "mara_lind", ("m"):rep(33) } do
      assert.equal("apply.bad_slug", names.check_slug(slug), slug)
    end
  end)

  it("are not those of the site", function()
    assert.equal("apply.slug_taken", names.check_slug("login"))
  end)
end)

describe("passwords", function()
  it("that need no list to be guessed are weak", function()
    for _, password in ipairs {
      "aaaaaaaaaaaaaaaa", "abababababababab", "abcdefghijklmnop", "passwordpassword",
      "password12345678", "123456789123456789", "iloveyouiloveyou",
    } do
      assert.is_true(names.weak_password(password), password)
    end
  end)

  it("that are little more than the account's own name or address are weak", function()
    assert.is_true(names.weak_password("ava_of_the_north99", { name = "ava_of_the_north" }))
    assert.is_true(names.weak_password("ava@example.org1234", { email = "ava@example.org" }))
  end)

  it("of a few words are fine", function()
    for _, password in ipairs { "correct horse battery", "vier kleine Enten", "ava likes slow trains" } do
      assert.is_false(names.weak_password(password, { name = "ava", email = "ava@example.org" }), password)
    end
  end)
end)
