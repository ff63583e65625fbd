--- The web service: its pages and what all of them share.
return require("footlight.app").new {
  pages = {
    "site.home", "site.rooms", "site.signup", "site.login", "site.credits", "site.account",
    "site.apply", "site.pages", "studio.index", "studio.broadcast", "admin.index", "admin.models",
  },
  context = require "site.context",
}
