-- For a site that people pay on. site.url, mail.smtp and the places of the servers belong into the
-- site's own file.
return {
  payments = { providers = "none" }, -- until your own file names those that you have a contract with
  drain_seconds = 30,
  mariadb = { pool = 20 },
}
