-- Raids, their seats and results, and the ranking of each season.

CREATE TABLE raid (
    raid            BIGINT     NOT NULL,
    kind            INT        NOT NULL,
    map             INT        NOT NULL,
    seed            BIGINT     NOT NULL,
    state           TINYINT    NOT NULL,
    reason          TINYINT    NOT NULL DEFAULT 0,
    number          INT        NOT NULL,
    incarnation     BIGINT     NOT NULL,
    takeovers       INT        NOT NULL DEFAULT 0,
    season          INT        NOT NULL,
    generation      BIGINT     NOT NULL,
    day             INT        NOT NULL,
    hp              BIGINT     NOT NULL DEFAULT 0,
    opened_ms       BIGINT     NOT NULL,
    started_ms      BIGINT     NOT NULL DEFAULT 0,
    ended_ms        BIGINT     NOT NULL DEFAULT 0,
    checkpoint_tick BIGINT     NOT NULL DEFAULT 0,
    checkpoint      MEDIUMBLOB NOT NULL,
    inputs_hash     BINARY(32) NULL,
    replay          MEDIUMBLOB NOT NULL,
    PRIMARY KEY (raid),
    KEY of_state (state, opened_ms),
    CONSTRAINT raid_state CHECK (state BETWEEN 1 AND 4),
    CONSTRAINT raid_end CHECK ((state < 3) = (reason = 0)),
    CONSTRAINT raid_result CHECK (state <> 3 OR inputs_hash IS NOT NULL),
    CONSTRAINT raid_hp CHECK (hp >= 0),
    CONSTRAINT raid_checkpoint CHECK (OCTET_LENGTH(checkpoint) <= 262144),
    CONSTRAINT raid_replay CHECK (OCTET_LENGTH(replay) <= 1048576)
) ENGINE = InnoDB;

-- A seat. `day` counts an entry and is 0 once the raid was aborted: the entry is given back. `jti` is the one
-- token that may claim the seat next, empty once it did.
CREATE TABLE raid_member (
    raid          BIGINT      NOT NULL,
    user_id       BIGINT      NOT NULL,
    seat          TINYINT     NOT NULL,
    session_epoch BIGINT      NOT NULL,
    center        INT         NOT NULL,
    ticket        BIGINT      NOT NULL,
    name          VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    level         INT         NOT NULL,
    attack        BIGINT      NOT NULL,
    day           INT         NOT NULL,
    jti           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    expires_ms    BIGINT      NOT NULL DEFAULT 0,
    score         BIGINT      NULL,
    PRIMARY KEY (raid, user_id),
    UNIQUE KEY raid_seat (raid, seat),
    KEY of_day (user_id, day),
    CONSTRAINT raid_member_raid FOREIGN KEY (raid) REFERENCES raid (raid),
    CONSTRAINT raid_member_account FOREIGN KEY (user_id) REFERENCES account (user_id),
    CONSTRAINT raid_member_seat CHECK (seat >= 0),
    CONSTRAINT raid_member_score CHECK (score >= 0)
) ENGINE = InnoDB;

-- One unsettled raid a player: the row comes with the raid and goes with its result.
CREATE TABLE raid_busy (
    user_id BIGINT NOT NULL,
    raid    BIGINT NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB;

-- The best score of each player in each season; only ever raised. `board_order` ascending, then `user_id`, is
-- the order of the board, here and in Redis.
CREATE TABLE ranking (
    season      INT    NOT NULL,
    user_id     BIGINT NOT NULL,
    score       BIGINT NOT NULL,
    raid        BIGINT NOT NULL,
    since_ms    BIGINT NOT NULL,
    board_order BIGINT GENERATED ALWAYS AS (-score) STORED,
    PRIMARY KEY (season, user_id),
    KEY board (season, board_order, user_id),
    CONSTRAINT ranking_season CHECK (season >= 1),
    CONSTRAINT ranking_score CHECK (score BETWEEN 1 AND 9007199254740991)
) ENGINE = InnoDB;

-- A place whose score in Redis may be lower than here; the relay repairs and removes it.
CREATE TABLE ranking_dirty (
    season   INT    NOT NULL,
    user_id  BIGINT NOT NULL,
    score    BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (season, user_id)
) ENGINE = InnoDB;

-- The board of a season in Redis, once it was filled: it counts only while it carries this very number. 0: it
-- is being filled again.
CREATE TABLE ranking_board (
    season INT    NOT NULL,
    epoch  BIGINT NOT NULL,
    PRIMARY KEY (season)
) ENGINE = InnoDB;
