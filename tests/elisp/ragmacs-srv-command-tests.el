;;; ragmacs-srv-command-tests.el --- The commands, as a user gives them  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)
(require 'org)
(require 'ragmacs-srv-org)

(defconst ragmacs-srv-test-gogc "https://go.dev/doc/gc-guide#GOGC")

(ert-deftest ragmacs-srv-ask-streams-an-answer-whose-citations-open ()
  (let ((ticks (list (float-time))) opened shown source timer)
    (setq timer (run-at-time 0 0.02 (lambda () (push (float-time) ticks))))
    (ragmacs-srv-ask "How large is the heap at the default GOGC?")
    (let ((text (ragmacs-srv-test-settled "*ragmacs*")))
      (cancel-timer timer)
      (should (string-search "twice as large as the live data" text))
      (should (string-search (format "<%s>" ragmacs-srv-test-gogc) text)))
    (message "longest time between two ticks of 20 ms: %.0f ms"
             (* 1000 (apply #'max (cl-mapcar #'- ticks (cdr ticks)))))
    (with-current-buffer "*ragmacs*"
      (should buffer-read-only)
      (goto-char (point-min))
      (ragmacs-srv-next)
      (should (looking-at "\\[1\\]"))
      (cl-letf (((symbol-function 'eww) (lambda (url &rest _) (push url opened)))
                ((symbol-function 'browse-url) (lambda (url &rest _) (push (list url) opened))))
        (call-interactively #'ragmacs-srv-follow)
        (let ((current-prefix-arg '(4)))
          (push-button)))
      (should (equal opened `((,ragmacs-srv-test-gogc) ,ragmacs-srv-test-gogc)))
      (ragmacs-srv-copy-link)
      (should (string-prefix-p (format "[[%s][" ragmacs-srv-test-gogc) (current-kill 0)))
      (ragmacs-srv-show-source)
      (setq source (ragmacs-srv--source))
      (ragmacs-srv-test-wait (setq shown (get-buffer "*ragmacs source*"))))
    (with-current-buffer shown
      (let ((quote (seq-find (lambda (each) (eq (overlay-get each 'face) 'ragmacs-srv-quote))
                             (overlays-in (point-min) (point-max)))))
        (should (equal (buffer-substring-no-properties (overlay-start quote) (overlay-end quote))
                       (plist-get source :quote)))))))

(ert-deftest ragmacs-srv-the-first-answer-of-an-emacs-comes-at-once ()
  "It takes about a second where a server runs; ten are a failure."
  (let ((command (split-string (getenv "TEST_RAGMACS"))))
    (should (zerop (apply #'call-process (car command) nil nil nil (append (cdr command) '("ask" "What is GOGC?"))))))
  (let ((asked (float-time)) connected)
    (ragmacs-srv-ask "How large is the heap at the default GOGC?")
    (setq connected (float-time))
    (ragmacs-srv-test-settled "*ragmacs*")
    (let ((answered (float-time)))
      (message "the first answer took %.0f ms: %.0f to ask, %.0f until it was whole" (* 1000 (- answered asked))
               (* 1000 (- connected asked)) (* 1000 (- answered connected)))
      (should (< (- answered asked) 10)))))

(ert-deftest ragmacs-srv-emacs-goes-on-while-an-answer-is-made ()
  "What redisplays and types must not wait: the main loop is never blocked for the time of a request."
  (ragmacs-srv-request-and-wait :ping nil)
  (let ((count 0) timer)
    (setq timer (run-at-time 0 0.02 (lambda () (setq count (1+ count)))))
    (let ((token (ragmacs-srv-request :debug/sleep '(:seconds 1))))
      (ragmacs-srv-test-wait (not (gethash token ragmacs-srv--requests))))
    (cancel-timer timer)
    (should (> count 5))))

(ert-deftest ragmacs-srv-g-asks-again-and-point-stays ()
  (ragmacs-srv-ask "What does GOMEMLIMIT limit?")
  (let ((first (ragmacs-srv-test-settled "*ragmacs*")))
    (with-current-buffer "*ragmacs*"
      (goto-char (point-max))
      (revert-buffer))
    (should (equal first (ragmacs-srv-test-settled "*ragmacs*")))))

(ert-deftest ragmacs-srv-a-new-question-stops-the-one-before ()
  (ragmacs-srv--show "*ragmacs*" "slow" :debug/sleep '(:seconds 50) #'ignore)
  (ragmacs-srv-ask "What does GOMEMLIMIT limit?")
  (should (string-search "GOMEMLIMIT" (ragmacs-srv-test-settled "*ragmacs*")))
  (should-not (string-search "cancelled" (ragmacs-srv-test-settled "*ragmacs*"))))

(ert-deftest ragmacs-srv-quitting-in-an-answer-stops-it ()
  (ragmacs-srv--show "*ragmacs*" "slow" :debug/sleep '(:seconds 50) #'ignore)
  (with-current-buffer "*ragmacs*"
    (should (eq (condition-case nil (call-interactively (key-binding (kbd "C-g"))) (quit 'quit)) 'quit)))
  (should (string-search "cancelled" (ragmacs-srv-test-settled "*ragmacs*")))
  (ragmacs-srv-test-wait (ragmacs-srv-test-idle)))

(ert-deftest ragmacs-srv-killing-a-buffer-stops-what-it-waits-for ()
  (ragmacs-srv--show "*ragmacs*" "slow" :debug/sleep '(:seconds 50) #'ignore)
  (kill-buffer "*ragmacs*")
  (should (map-empty-p ragmacs-srv--requests))
  (ragmacs-srv-test-wait (ragmacs-srv-test-idle)))

(ert-deftest ragmacs-srv-an-answer-is-inserted-as-org-in-org ()
  (with-temp-buffer
    (org-mode)
    (insert "* Notes\n")
    (let ((current-prefix-arg '(4)))
      (ragmacs-srv-ask "How large is the heap at the default GOGC?" t))
    (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
    (goto-char (point-min))
    (should (search-forward (format "<%s>" ragmacs-srv-test-gogc)))
    (should (eq (org-element-type (org-element-context)) 'link))))

(ert-deftest ragmacs-srv-search-offers-links-and-shows-the-stored-section ()
  (let (offered)
    (cl-letf (((symbol-function 'completing-read)
               (lambda (_prompt table &rest _)
                 (let ((metadata (cdr (funcall table "" nil 'metadata)))
                       (links (all-completions "" table)))
                   (setq offered (list (alist-get 'category metadata)
                                       (funcall (alist-get 'annotation-function metadata) (car links))))
                   (car links)))))
      (ragmacs-srv-search "memory limit in containers"))
    (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
    (should (eq (car offered) 'url))
    (should (string-search "Memory limit" (cadr offered)))
    (with-current-buffer (window-buffer)
      (should (derived-mode-p 'ragmacs-srv-mode))
      (should (string-search "GOMEMLIMIT" (buffer-substring (point) (line-end-position)))))))

(ert-deftest ragmacs-srv-search-says-when-nothing-matches ()
  (should (string-search "xyzzyplugh"
                         (cadr (should-error (ragmacs-srv-search "xyzzyplugh") :type 'user-error)))))

(ert-deftest ragmacs-srv-a-page-is-summarized-with-its-address ()
  (with-temp-buffer
    (insert (format "see %s/doc/fresh, please" ragmacs-srv-test-site))
    (search-backward "doc")
    (let ((url (ragmacs-srv--address-here)))
      (should (equal url (concat ragmacs-srv-test-site "/doc/fresh")))
      (ragmacs-srv-summarize-url url)))
  (let ((text (ragmacs-srv-test-settled "*ragmacs summary*")))
    (should (string-search "About fresh" text))
    (should (string-match-p "^- " text))
    (should (string-search (format "<%s/doc/fresh>" ragmacs-srv-test-site) text))))

(ert-deftest ragmacs-srv-a-summary-is-inserted-below-the-heading-of-org ()
  (with-temp-buffer
    (org-mode)
    (insert "* Notes\n** Links\n")
    (ragmacs-srv-summarize-url ragmacs-srv-test-gogc t)
    (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
    (goto-char (point-min))
    (should (search-forward "*** "))
    (should (equal (org-entry-get nil "URL") "https://go.dev/doc/gc-guide"))))

(ert-deftest ragmacs-srv-what-cannot-be-summarized-says-why ()
  (pcase-dolist (`(,url ,why) `(("file:///etc/passwd" "/etc/passwd")
                                ("http://192.168.1.1/" "192.168.1.1")
                                (,(concat ragmacs-srv-test-site "/missing") "404")
                                (,(concat ragmacs-srv-test-site "/broken.pdf") "PDF")))
    (let ((said (ragmacs-srv-test-messages
                 (ragmacs-srv-summarize-url url)
                 (ragmacs-srv-test-settled "*ragmacs summary*"))))
      (should (string-search why (car said)))
      (should (string-search why (ragmacs-srv-test-settled "*ragmacs summary*"))))))

(ert-deftest ragmacs-srv-a-reading-list-may-be-what-is-selected-in-elfeed ()
  (skip-unless (require 'elfeed nil t))
  (let* ((folder (make-temp-file "elfeed" t))
         (elfeed-db-directory folder)
         (links '("https://a.example/one" "https://a.example/two")))
    (elfeed-db-load)
    (elfeed-db-add (mapcar (lambda (link)
                             (elfeed-entry--create :id (cons "a" link) :feed-id "a" :title link :link link
                                                   :date (float-time) :tags '(unread)))
                           links))
    (with-current-buffer (elfeed-search-buffer)
      (elfeed-search-mode)
      (elfeed-search-update :force)
      (transient-mark-mode 1)
      (push-mark (point-min) t t)
      (goto-char (point-max))
      (should (equal (sort (split-string (ragmacs-srv--read-list)) #'string<) links))
      (should (member (ragmacs-srv--address-here) links)))
    (delete-directory folder t)))

(ert-deftest ragmacs-srv-indexing-shows-in-the-mode-line-until-it-ends ()
  (let* (seen
         (said (ragmacs-srv-test-messages
                (ragmacs-srv-index-build '("https://go.dev/doc/indexed"))
                (ragmacs-srv-test-wait
                 (progn (cl-pushnew (ragmacs-srv--jobs-text) seen :test #'equal)
                        (map-empty-p ragmacs-srv--requests))
                 60))))
    (should (seq-some (lambda (each) (string-search "indexed" each)) seen))
    (should-not (memq 'ragmacs-srv--mode-line global-mode-string))
    (should (string-match-p "go.dev.*: 1 new" (car said)))))

(ert-deftest ragmacs-srv-indexing-is-stopped-and-what-is-indexed-stays ()
  (ragmacs-srv-request-and-wait :ping nil)
  (let* (failed (token (ragmacs-srv-index-build '("https://go.dev/slow/page"))))
    (ragmacs-srv-test-messages
     (ragmacs-srv-cancel token)
     (setq failed (map-empty-p ragmacs-srv--requests)))
    (should failed)
    (should-not ragmacs-srv--jobs)
    (should (plist-get (ragmacs-srv-request-and-wait :search '(:query "GOGC")) :results))))

(ert-deftest ragmacs-srv-a-connection-that-leaves-while-it-indexes-leaves-the-index-sound ()
  (ragmacs-srv-index-build '("https://go.dev/doc/left"))
  (ragmacs-srv-disconnect)
  (should (plist-get (ragmacs-srv-request-and-wait :search '(:query "GOGC")) :results)))

(ert-deftest ragmacs-srv-links-of-org-open-what-is-stored ()
  (with-temp-buffer
    (org-mode)
    (insert "[[ragmacs:https://go.dev/doc/gc-guide#Memory_limit][limit]]")
    (goto-char (point-min))
    (org-open-at-point)
    (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests)))
  (with-current-buffer (window-buffer)
    (should (looking-at "Memory limit"))
    (let (org-stored-links)
      (should (ragmacs-srv-org-store))
      (should (equal (plist-get org-store-link-plist :link)
                     "ragmacs:https://go.dev/doc/gc-guide#Memory_limit")))
    (should (string-search "#+begin_quote" (ragmacs-srv-org-capture)))))

(ert-deftest ragmacs-srv-links-of-org-are-exported-by-their-address ()
  (require 'ox-html)
  (should (equal (org-export-string-as "[[ragmacs:https://a.b/c#d][e]] [[ragmacs:handbook:f][g]]" 'html t)
                 "<p>\n<a href=\"https://a.b/c#d\">e</a> g</p>\n")))

(ert-deftest ragmacs-srv-markdown-becomes-org ()
  (should (equal (ragmacs-srv-org-from-markdown
                  "## T\n**b** and `x*y` [a](https://b.c)\n- i\n```go\n* p\n**q**\n```\n`z`\n")
                 "** T\n*b* and =x*y= [[https://b.c][a]]\n- i\n#+begin_src go\n,* p\n,**q**\n#+end_src\n=z=\n")))

(defvar ragmacs-srv-test-evaluated nil
  "What hostile text in Org has made Emacs do.")

(ert-deftest ragmacs-srv-org-acts-on-nothing-that-a-page-says ()
  (let* ((evil "(push 1 ragmacs-srv-test-evaluated)")
         (lines (list (format "Say <%%%%%s>" evil) (format "`<%%%%%s>`" evil) (format "%%%%%s" evil)
                      (format "&%%%%%s" evil) (format "```\n%%%%%s\n<%%%%%s>\n```" evil evil)
                      (format "```emacs-lisp :var x=%s\n1\n```" evil)
                      (format "[[elisp:%s][x]] [[[shell:ls]]] elisp:%s <elisp:%s> FILE:/etc/passwd" evil evil evil)
                      (format "a`[[elisp:%s][x]]`b`elisp:%s`c`src_sh{ls}`d" evil evil)
                      "{{{x}}} @@html:x@@ src_sh{ls} <<<x>>> [fn:1] [cite:@x]" "* an item" "#+include: /etc/passwd"
                      ":PROPERTIES:" (format ":header-args: :var x=%s" evil) ":END:"
                      "See `a[[2]int{}]` and https://a.b/info:c."))
         (file (make-temp-file "evil" nil ".org")))
    (unwind-protect
        (progn
          (dolist (line lines) ; one a heading: of several times in an entry the agenda takes the first
            (write-region (concat (ragmacs-srv-org-heading line nil) (ragmacs-srv-org-from-markdown line) "\n"
                                  (ragmacs-srv-org-link "https://a.b/" line) "\n")
                          nil file t 'silent))
          (require 'org-agenda)
          (let ((org-agenda-files (list file))
                (inhibit-message t))
            (org-agenda-list nil nil 1))
          (should-not ragmacs-srv-test-evaluated)
          (with-current-buffer (find-file-noselect file)
            (let ((tree (org-element-parse-buffer)))
              (should (equal (delete-dups (org-element-map tree 'link
                                            (lambda (link) (org-element-property :raw-link link))))
                             '("https://a.b/" "https://a.b/info:c")))
              (should-not (org-element-map tree '(macro export-snippet inline-src-block radio-target footnote-reference
                                                  keyword diary-sexp)
                            #'identity))
              (should (equal (org-element-map tree 'src-block
                               (lambda (block) (list (org-element-property :language block)
                                                     (org-element-property :parameters block))))
                             '(("emacs-lisp" nil))))
              (should (= (length (org-element-map tree 'headline #'identity)) (length lines)))
              (should (member "a[[2]int{}]" (org-element-map tree 'verbatim
                                              (lambda (code) (org-element-property :value code))))))
            (kill-buffer)))
      (delete-file file))))

(ert-deftest ragmacs-srv-status-and-restart-name-the-server ()
  (let ((said (ragmacs-srv-test-messages
               (ragmacs-srv-status)
               (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests))
               (ragmacs-srv-restart)
               (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests)))))
    (let ((servers (seq-filter (lambda (each) (string-match-p "pid [0-9]+.*guide (1)" each)) said)))
      (should (= (length servers) 2))
      (should-not (equal (car servers) (cadr servers))))))

(ert-deftest ragmacs-srv-every-command-is-autoloaded-and-has-a-key ()
  (let ((file (make-temp-file "autoloads" nil ".el"))
        (folder (file-name-directory (locate-file "ragmacs-srv.el" load-path))))
    (let ((inhibit-message t))
      (if (fboundp 'loaddefs-generate)
          (loaddefs-generate folder file nil nil nil t)
        (with-suppressed-warnings ((obsolete make-directory-autoloads))
          (make-directory-autoloads folder file))))
    (with-temp-buffer
      (insert-file-contents file)
      (map-keymap (lambda (_key command)
                    (goto-char (point-min))
                    (should (commandp command))
                    (should (re-search-forward (format "(autoload '%s " command) nil t)))
                  ragmacs-srv-command-map))
    (delete-file file)))

(ert-deftest ragmacs-srv-the-menu-and-the-manual-have-every-command-of-the-map ()
  (require 'ragmacs-srv-menu)
  (let ((layout (format "%S" (get 'ragmacs-srv-menu 'transient--layout)))
        (manual (with-temp-buffer
                  (insert-file-contents (locate-file "ragmacs-srv.org" load-path))
                  (buffer-string))))
    (map-keymap (lambda (key command)
                  (should (string-match-p (format "| =C-c r %s= +| =%s=" (regexp-quote (string key)) command) manual))
                  (unless (eq command 'ragmacs-srv-menu)
                    (should (string-search (symbol-name command) layout))))
                ragmacs-srv-command-map)))

;;; ragmacs-srv-command-tests.el ends here
