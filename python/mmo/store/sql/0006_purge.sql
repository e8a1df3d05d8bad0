-- Where the event log of a player begins once its older part was purged: what he had after its last
-- purged version. Without a row the log begins with version 1.

CREATE TABLE event_origin (
    user_id   BIGINT     NOT NULL,
    version   BIGINT     NOT NULL,
    gold      BIGINT     NOT NULL,
    cash      BIGINT     NOT NULL,
    mileage   BIGINT     NOT NULL,
    last_ms   BIGINT     NOT NULL,
    purged_ms BIGINT     NOT NULL,
    state     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (user_id),
    CONSTRAINT event_origin_head FOREIGN KEY (user_id) REFERENCES player_head (user_id),
    CONSTRAINT event_origin_version CHECK (version > 0)
) ENGINE = InnoDB;
