--- The web service: its pages and what all of them share.
return require("footlight.app").new {
  pages = {
    "site.home", "site.rooms", "site.shows", "site.signup", "site.login", "site.credits",
    "site.account", "site.apply", "site.pages", "site.sandbox", "site.webhooks",
    "studio.index", "studio.broadcast", "studio.shows", "studio.recordings", "studio.blocks",
    "admin.index", "admin.models", "admin.orders", "admin.disputes", "admin.promos",
    "admin.payouts", "admin.finances", "admin.wallets", "studio.payouts",
  },
  context = require "site.context",
  form_targets = require("site.payments").origins(),
}
