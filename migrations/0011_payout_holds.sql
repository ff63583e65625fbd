-- Whose earnings staff keep back before they get into a batch, and why. Rows are added, never changed: the newest
-- one of a model counts.
CREATE TABLE payout_holds (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id   BIGINT UNSIGNED NOT NULL,
    held       BOOLEAN NOT NULL,
    reason     VARCHAR(200) NOT NULL,
    actor      BIGINT UNSIGNED NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    INDEX (model_id, id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (actor) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
