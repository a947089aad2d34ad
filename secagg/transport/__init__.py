"""What coordinator and sites say to each other, apart from how it travels: shapes, signatures and limits."""
