-- Until when an account is shut (0: open), and what operators changed of accounts.

ALTER TABLE account ADD COLUMN banned_until_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE account_change (
    number   BIGINT       NOT NULL AUTO_INCREMENT,
    user_id  BIGINT       NOT NULL,
    what     VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    until_ms BIGINT       NOT NULL,
    reason   VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
    who      VARCHAR(64)  CHARACTER SET utf8mb4 NOT NULL,
    at_ms    BIGINT       NOT NULL,
    PRIMARY KEY (number),
    KEY account_change_user (user_id, number),
    CONSTRAINT account_change_account FOREIGN KEY (user_id) REFERENCES account (user_id)
) ENGINE = InnoDB;
