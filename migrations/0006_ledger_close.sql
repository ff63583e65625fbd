-- Revenue shares of single models with their history, and months that are closed.

-- A row holds from valid_from until the next one of its model; NULL: what the settings say for all.
CREATE TABLE revenue_splits (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id   BIGINT UNSIGNED NOT NULL,
    valid_from DATETIME(6) NOT NULL,
    paid_bp    SMALLINT UNSIGNED NULL,
    promo_bp   SMALLINT UNSIGNED NULL,
    reason     VARCHAR(200) NOT NULL,
    actor      VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    UNIQUE (model_id, valid_from),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    CHECK (paid_bp <= 10000),
    CHECK (promo_bp <= 10000)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Months are closed in order, so everything before the last `ends` is closed.
CREATE TABLE ledger_periods (
    month     CHAR(7) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    ends      DATETIME(6) NOT NULL UNIQUE,
    txns      BIGINT UNSIGNED NOT NULL,
    totals    JSON NOT NULL, -- what each kind of wallet gained in the month, and had at its end
    actor     VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    closed_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    CHECK (month REGEXP '^[0-9]{4}-[0-9]{2}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Nothing is booked into a closed month, whoever tries: the date becomes NULL, which the column refuses.
CREATE TRIGGER ledger_txns_closed BEFORE INSERT ON ledger_txns FOR EACH ROW
    SET NEW.occurred_at = IF(EXISTS (SELECT 1 FROM ledger_periods p WHERE p.ends > NEW.occurred_at),
                             NULL, NEW.occurred_at);
