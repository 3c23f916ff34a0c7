"""The administration of a mesh: one service under command line, REST and console.

Whoever asks is an :class:`~coordinator.administration.rights.Actor`. What can be asked
stands in one table, :data:`~coordinator.administration.endpoints.ENDPOINTS`, from which
come the routes of the REST interface, its OpenAPI document, and the rights that each
needs. :class:`~coordinator.administration.service.Administration` judges rights, reads
what was sent, carries it out on a
:class:`~coordinator.administration.asking.AdministeredMesh`, and answers with records:
the same objects over HTTP and in the output of ``--json``.
"""
