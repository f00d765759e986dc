SELECT bases.document, shapes.changed, shapes.gone FROM shapes JOIN bases ON bases.id = shapes.base WHERE shapes.id = %(id)s
