-- Buying credits: packs, orders, and what payment providers told us.

CREATE TABLE packs (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name          VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    label         VARCHAR(60) NOT NULL,
    credits       BIGINT UNSIGNED NOT NULL,           -- micro-credits
    promo_credits BIGINT UNSIGNED NOT NULL DEFAULT 0, -- micro-credits
    price_minor   BIGINT UNSIGNED NOT NULL,
    currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    position      INT NOT NULL DEFAULT 0,
    offered       BOOLEAN NOT NULL DEFAULT TRUE,
    CHECK (credits > 0),
    CHECK (price_minor > 0),
    CHECK (currency REGEXP '^[A-Z]{3}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO packs (name, label, credits, promo_credits, price_minor, currency, position) VALUES
    ('starter', '50 credits', 50000000, 0, 599, 'USD', 1),
    ('regular', '100 credits', 100000000, 5000000, 1099, 'USD', 2),
    ('large', '250 credits', 250000000, 20000000, 2599, 'USD', 3),
    ('grand', '1,000 credits', 1000000000, 120000000, 9999, 'USD', 4);

CREATE TABLE orders (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- In addresses and at the provider, in place of the number, which would tell how many there are.
    public_id     CHAR(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    account_id    BIGINT UNSIGNED NOT NULL,
    pack_id       BIGINT UNSIGNED NOT NULL,
    credits       BIGINT UNSIGNED NOT NULL,
    promo_credits BIGINT UNSIGNED NOT NULL DEFAULT 0,
    price_minor   BIGINT UNSIGNED NOT NULL,
    currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state         ENUM ('created', 'redirected', 'pending', 'paid', 'credited', 'review', 'failed', 'expired',
                        'cancelled', 'refund_pending', 'refunded', 'disputed', 'charged_back')
                  NOT NULL DEFAULT 'created',
    state_reason  VARCHAR(200) NULL,
    version       INT UNSIGNED NOT NULL DEFAULT 1,
    provider      VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    provider_ref  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NULL,
    idem_key      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ip            VARCHAR(45) CHARACTER SET ascii NOT NULL DEFAULT '',
    country       CHAR(2) CHARACTER SET ascii NULL,
    created_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    updated_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    paid_at       DATETIME(6) NULL,
    credited_at   DATETIME(6) NULL,
    UNIQUE (provider, provider_ref),
    UNIQUE (account_id, idem_key),
    INDEX (account_id, created_at),
    INDEX (state, updated_at),
    INDEX (pack_id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    FOREIGN KEY (pack_id) REFERENCES packs (id),
    CHECK (credits > 0),
    CHECK (price_minor > 0),
    CHECK (state NOT IN ('paid', 'credited', 'refund_pending', 'refunded', 'disputed', 'charged_back')
           OR paid_at IS NOT NULL),
    CHECK (state NOT IN ('credited', 'refund_pending', 'refunded', 'disputed', 'charged_back')
           OR credited_at IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE payment_events (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    provider     VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id     VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    order_id     BIGINT UNSIGNED NULL,
    raw          MEDIUMBLOB NOT NULL,
    received_at  DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    processed_at DATETIME(6) NULL,
    -- applied, ignored, parked (an event that came before the one it follows) …
    result       VARCHAR(200) NULL,
    UNIQUE (provider, event_id),
    INDEX (order_id),
    FOREIGN KEY (order_id) REFERENCES orders (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
